# An unmodified EncoderDecoder on VOC pseudo-masks; the pipeline points the training data at its own.
_base_ = [
    '../_base_/models/segformer_b0.py',
    '../_base_/datasets/voc12_seg.py',
    '../_base_/schedules/poly_20k.py',
    '../_base_/mmseg_runtime.py',
]
model = dict(data_preprocessor=_base_.data_preprocessor)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(pos_block=dict(decay_mult=0.0), norm=dict(decay_mult=0.0), head=dict(lr_mult=10.0))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, begin=1500, end=20000, by_epoch=False),
]
