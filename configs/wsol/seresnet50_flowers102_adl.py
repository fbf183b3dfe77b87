# Attention-based dropout on each stage.
_base_ = ['./seresnet50_flowers102.py', '../_base_/methods/er2023.py']
model = dict(erasing=_base_.adl)
