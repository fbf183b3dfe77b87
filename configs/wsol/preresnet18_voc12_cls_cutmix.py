# CutMix on half of the batches (the host’s batch augmentation).
_base_ = ['./preresnet18_voc12_cls.py', '../_base_/methods/er2023.py']
model = dict(train_cfg=_base_.cutmix)
