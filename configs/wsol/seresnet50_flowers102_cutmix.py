# CutMix on half of the batches (the host’s batch augmentation).
_base_ = ['./seresnet50_flowers102.py', '../_base_/methods/er2023.py']
model = dict(train_cfg=_base_.cutmix, head=dict(loss=dict(use_soft=True)))
