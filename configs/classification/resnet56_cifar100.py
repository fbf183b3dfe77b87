# ResNet-56 on CIFAR-100 from scratch: the control of the entropy config.
_base_ = [
    'mmpretrain::_base_/datasets/cifar100_bs16.py',
    '../_base_/schedules/scratch_30e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(type='mmentropy.CIFARResNet', depth=56),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead', loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
)
train_dataloader = dict(batch_size=128)
train_cfg = dict(max_epochs=200)
