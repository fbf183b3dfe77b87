# Attention-based dropout on each stage.
_base_ = ['./preresnet18_cub.py', '../_base_/methods/er2023.py']
model = dict(erasing=_base_.adl)
