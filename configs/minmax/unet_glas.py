# The ceiling on GlaS: mmsegmentation's U-Net with full supervision, judged by the rule of the weak masks. Crops are of 416
# pixels: the smallest images are 430 pixels high, and mmsegmentation's crop does not pad.
_base_ = [
    '../_base_/models/unet_binary.py',
    '../_base_/datasets/glas.py',
    '../_base_/schedules/scratch_30e.py',
    '../_base_/default_runtime.py',
]
default_scope = 'mmseg'
load = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='mmentropy.LoadLocalizationMasks'),
    dict(type='mmentropy.MaskToSegMap'),
]
train_pipeline = [
    *load,
    dict(type='RandomCrop', crop_size=(416, 416)),
    dict(type='RandomFlip', prob=[0.25, 0.25], direction=['horizontal', 'vertical']),
    dict(type='PackSegInputs'),
]
test_pipeline = [*load, dict(type='PackSegInputs')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
train_cfg = dict(max_epochs=200, val_interval=20)
optim_wrapper = dict(optimizer=dict(lr=0.01))
val_evaluator = [dict(type='mmentropy.SegmentorDiceMetric', prefix='dice')]
test_evaluator = val_evaluator
