# AffinityNet on the classifier's backbone: pairs within 5 locations at stride 8.
_base_ = [
    '../_base_/datasets/voc12_seg.py',
    '../_base_/schedules/poly_20k.py',
    '../_base_/mmseg_runtime.py',
]
model = dict(
    type='mmentropy.AffinityNet',
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(
        type='mmpretrain.ResNet', depth=50, strides=(1, 2, 2, 1), out_indices=(1, 2, 3), style='pytorch'),
    in_channels=(512, 1024, 2048),
)
optim_wrapper = dict(optimizer=dict(lr=0.05), paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=6000, by_epoch=False)]
train_cfg = dict(max_iters=6000, val_interval=6000)
