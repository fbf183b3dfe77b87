# Control: plain CAM on the same backbone, its map of the label's class normalised and cut at one half.
_base_ = './resnet18_partshapes_minmax.py'
model = dict(
    _delete_=True,
    type='mmentropy.LocalizationClassifier',
    backbone=dict(
        type='ResNet',
        depth=18,
        strides=(1, 2, 1, 1),
        style='pytorch',
        base_channels=16,
        stem_channels=16,
        norm_cfg=dict(type='GN', num_groups=8),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead'),
)
custom_hooks = []
val_evaluator = _base_.drawn_map_evaluator
test_evaluator = val_evaluator
