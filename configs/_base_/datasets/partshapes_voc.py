# PartShapes scenes in the layout of VOC 2012 (tools/dataset_tools/export_partshapes_voc.py), 5 classes, 96 pixels.
num_classes = 5
image_size = 96
dataset_type = 'mmentropy.VOC2012MultiLabel'
data_root = 'data/partshapes_voc/VOC2012'

data_preprocessor = dict(
    num_classes=num_classes, mean=[127.5, 127.5, 127.5], std=[63.75, 63.75, 63.75], to_rgb=True, to_onehot=True)

load_image = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
train_pipeline = [
    load_image,
    dict(type='RandomCrop', crop_size=image_size, padding=8, padding_mode='reflect'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='mmentropy.PackLocalizationInputs'),
]
test_pipeline = [
    load_image,
    dict(type='mmentropy.LoadLocalizationMasks'),
    dict(type='mmentropy.PackLocalizationInputs'),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    dataset=dict(
        type=dataset_type, data_root=data_root, split='train', classes=num_classes, with_masks=False,
        pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=1,
    persistent_workers=True,
    dataset=dict(
        type=dataset_type, data_root=data_root, split='val', classes=num_classes, pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = [dict(type='AveragePrecision'), dict(type='mmentropy.PixelLocalizationMetric')]
test_dataloader = val_dataloader
test_evaluator = val_evaluator
