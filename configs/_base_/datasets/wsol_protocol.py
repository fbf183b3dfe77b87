# The WSOL protocol's preprocessing, shared by the sets that follow it: resize to 256, crop 224 for training; squash to
# 224 for validation and test. A set that builds on this names its data sets, num_classes and evaluators.
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)

# As stored: boxes and masks do not follow a camera's EXIF orientation.
load_image = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
train_pipeline = [
    load_image,
    dict(type='Resize', scale=(256, 256)),
    dict(type='RandomCrop', crop_size=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='mmentropy.PackLocalizationInputs'),
]
# Each mask is resized to 224 before the masks of an image are joined; a set without masks passes unchanged.
test_pipeline = [
    load_image,
    dict(type='mmentropy.LoadLocalizationMasks', size=(224, 224)),
    dict(type='Resize', scale=(224, 224)),
    dict(type='mmentropy.PackLocalizationInputs'),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='mmentropy.BoxLocalizationMetric'),
    dict(type='mmentropy.EntropyMetric'),
]
test_evaluator = val_evaluator
