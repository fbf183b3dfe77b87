# CutMix on half of the batches (the host's batch augmentation).
_base_ = './resnet18_tinyimagenet.py'
model = dict(
    train_cfg=dict(augments=dict(type='CutMix', alpha=1.0), probs=0.5),
    head=dict(loss=dict(type='CrossEntropyLoss', use_soft=True)),
)
