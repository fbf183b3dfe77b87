# Tiny ImageNet (or a part of its classes in the same layout), 64×64, one box an image.
# All 200 classes: num_classes = 200, and data_root = 'data/tiny-imagenet-200' in the three places.
num_classes = 50
dataset_type = 'mmentropy.TinyImageNetLocalization'
data_root = 'data/tiny-imagenet-50'

data_preprocessor = dict(num_classes=num_classes, mean=[122.5, 114.3, 101.4], std=[70.5, 68.6, 71.8], to_rgb=True)

train_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='RandomCrop', crop_size=64, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='mmentropy.PackLocalizationInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='mmentropy.PackLocalizationInputs'),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(type=dataset_type, data_root=data_root, split='val', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='mmentropy.BoxLocalizationMetric'),
    dict(type='mmentropy.EntropyMetric'),
]
test_dataloader = val_dataloader
test_evaluator = val_evaluator
