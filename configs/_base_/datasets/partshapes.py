# PartShapes: drawn on the fly, nothing to prepare. Boxes, object masks and part masks are exact.
num_classes = 10
image_size = 64

data_preprocessor = dict(
    num_classes=num_classes, mean=[127.5, 127.5, 127.5], std=[63.75, 63.75, 63.75], to_rgb=True)

train_pipeline = [
    dict(type='RandomCrop', crop_size=image_size, padding=4, padding_mode='reflect'),
    dict(type='mmentropy.PackLocalizationInputs'),
]
test_pipeline = [dict(type='mmentropy.PackLocalizationInputs')]

train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(
        type='mmentropy.PartShapes',
        split='train',
        length=2000,
        num_classes=num_classes,
        image_size=image_size,
        cooccurrence=0.5,
        pipeline=train_pipeline,
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
# In validation the background says nothing about the class.
val_dataloader = dict(
    batch_size=100,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(
        type='mmentropy.PartShapes',
        split='val',
        length=500,
        num_classes=num_classes,
        image_size=image_size,
        cooccurrence=0.0,
        pipeline=test_pipeline,
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='mmentropy.BoxLocalizationMetric'),
    dict(type='mmentropy.PixelLocalizationMetric'),
    dict(type='mmentropy.PartCoverageMetric'),
    dict(type='mmentropy.EntropyMetric'),
]
test_dataloader = val_dataloader
test_evaluator = val_evaluator
