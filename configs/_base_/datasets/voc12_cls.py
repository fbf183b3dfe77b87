# PASCAL VOC 2012 as a multi-label set (difficult objects count): long side 320 to 640, 512×512 crops on the mean.
num_classes = 20
dataset_type = 'mmentropy.VOC2012MultiLabel'
data_root = 'data/VOCdevkit/VOC2012'

data_preprocessor = dict(
    num_classes=num_classes,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
    to_onehot=True,
)

# As stored: boxes and masks do not follow a camera's EXIF orientation.
load_image = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
train_pipeline = [
    load_image,
    # One ratio for both sides: the long side is uniform in 320 to 640.
    dict(type='RandomResize', scale=(640, 640), ratio_range=(0.5, 1.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=512, pad_if_needed=True, pad_val=(104, 116, 124)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='mmentropy.PackLocalizationInputs'),
]
# Squashed, so that a map covers exactly its image.
test_pipeline = [
    load_image,
    dict(type='mmentropy.LoadLocalizationMasks'),
    dict(type='Resize', scale=(448, 448)),
    dict(type='mmentropy.PackLocalizationInputs'),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(
        type=dataset_type, data_root=data_root, split='trainaug', with_masks=False, pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(type=dataset_type, data_root=data_root, split='val', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = [
    dict(type='AveragePrecision'),
    dict(type='MultiLabelMetric', thr=0.5),
    dict(type='mmentropy.PixelLocalizationMetric'),
]
test_dataloader = val_dataloader
test_evaluator = val_evaluator
