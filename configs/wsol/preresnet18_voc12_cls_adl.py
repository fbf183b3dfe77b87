# Attention-based dropout on each stage.
_base_ = ['./preresnet18_voc12_cls.py', '../_base_/methods/er2023.py']
model = dict(erasing=_base_.adl)
