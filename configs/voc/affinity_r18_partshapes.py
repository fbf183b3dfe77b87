# AffinityNet on the classifier's backbone, for the random walk.
_base_ = [
    '../_base_/datasets/partshapes_voc_seg.py',
    '../_base_/schedules/poly_20k.py',
    '../_base_/mmseg_runtime.py',
]
data_preprocessor = _base_.data_preprocessor
model = dict(
    type='mmentropy.AffinityNet',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='mmpretrain.ResNet',
        depth=18,
        base_channels=16,
        stem_channels=16,
        strides=(1, 2, 1, 1),
        out_indices=(0, 1, 3),
        style='pytorch',
    ),
    in_channels=(16, 32, 128),
    channels=32,
    frozen_backbone=True,
)
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=300, by_epoch=False)]
train_cfg = dict(max_iters=300, val_interval=300)
default_hooks = dict(checkpoint=dict(interval=100))
