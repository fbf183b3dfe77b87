# The plain CAM classifier of the PartShapes pipeline, multi-label: the control.
_base_ = [
    '../_base_/models/resnet18_small_cam.py',
    '../_base_/datasets/partshapes_voc.py',
    '../_base_/schedules/scratch_30e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(base_channels=16, stem_channels=16),
    head=dict(multi_label=True, loss=dict(_delete_=True, type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)),
)
# Hidden cells make the classifier look at more than the telling part; without, no refiner finds the rest of an object.
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
            dict(type='RandomCrop', crop_size=96, padding=8, padding_mode='reflect'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='mmentropy.HideAndSeek', mean=_base_.data_preprocessor.mean, grid=[6, 8], prob=0.35),
            dict(type='mmentropy.PackLocalizationInputs'),
        ]),
)
train_cfg = dict(max_epochs=40)
