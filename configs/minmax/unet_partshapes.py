# The ceiling on the drawn images: a narrow U-Net of mmsegmentation with full supervision.
_base_ = [
    '../_base_/models/unet_binary.py',
    '../_base_/datasets/partshapes.py',
    '../_base_/schedules/scratch_30e.py',
    '../_base_/default_runtime.py',
]
default_scope = 'mmseg'
model = dict(backbone=dict(base_channels=8), decode_head=dict(in_channels=8, channels=8))
pipeline = [dict(type='mmentropy.MaskToSegMap'), dict(type='PackSegInputs')]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))
train_cfg = dict(max_epochs=8, val_interval=8)
val_evaluator = [dict(type='mmentropy.SegmentorDiceMetric', prefix='dice')]
test_evaluator = val_evaluator
