# Attention-based dropout on each stage.
_base_ = ['./preresnet18_openimages30k.py', '../_base_/methods/er2023.py']
model = dict(erasing=_base_.adl)
