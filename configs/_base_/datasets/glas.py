# GlaS: 480×480 crops, the shorter images reflected at their borders; whole images for validation and test.
# Masks are never used in training or selection.
num_classes = 2
dataset_type = 'mmentropy.GlaS'
data_root = 'data/glas'

data_preprocessor = dict(
    num_classes=num_classes, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)

# As stored: boxes and masks do not follow a camera's EXIF orientation.
load_image = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
train_pipeline = [
    load_image,
    dict(type='RandomCrop', crop_size=480, pad_if_needed=True, padding_mode='reflect'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='RandomFlip', prob=0.5, direction='vertical'),
    dict(type='mmentropy.PackLocalizationInputs'),
]
test_pipeline = [
    load_image,
    dict(type='mmentropy.LoadLocalizationMasks'),
    dict(type='mmentropy.PackLocalizationInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
# The images are of several sizes: one a batch, so that nothing is padded.
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(type=dataset_type, data_root=data_root, split='val', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(type=dataset_type, data_root=data_root, split='test', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = [
    dict(type='Accuracy', topk=(1,)),
    dict(type='mmentropy.PixelLocalizationMetric'),
    dict(type='mmentropy.DiceMetric', normalize=True),
    dict(type='mmentropy.EntropyMetric'),
]
test_evaluator = val_evaluator
