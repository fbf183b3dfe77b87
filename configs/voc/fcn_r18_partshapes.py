# mmsegmentation's EncoderDecoder on PartShapes pseudo-masks.
_base_ = [
    '../_base_/models/fcn_r18_small.py',
    '../_base_/datasets/partshapes_voc_seg.py',
    '../_base_/schedules/poly_20k.py',
    '../_base_/mmseg_runtime.py',
]
data_preprocessor = _base_.data_preprocessor
model = dict(data_preprocessor=data_preprocessor)
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=600, by_epoch=False)]
train_cfg = dict(max_iters=600, val_interval=600)
default_hooks = dict(checkpoint=dict(interval=200))
