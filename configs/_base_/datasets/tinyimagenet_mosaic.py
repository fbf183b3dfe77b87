# 2×2 mosaics of Tiny ImageNet's validation images: the centre says nothing. Training is on the plain images.
_base_ = ['./tinyimagenet.py']

mosaic_pipeline = [dict(type='mmentropy.PackLocalizationInputs')]
val_dataloader = dict(
    batch_size=50,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(
        _delete_=True,
        type='mmentropy.MosaicLocalization',
        dataset=dict(type='mmentropy.TinyImageNetLocalization', data_root='data/tiny-imagenet-50', split='val'),
        grid=2,
        tile_size=64,
        pipeline=mosaic_pipeline,
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='mmentropy.BoxLocalizationMetric'),
    dict(type='mmentropy.GridPointingMetric'),
    dict(type='mmentropy.EntropyMetric'),
]
test_dataloader = val_dataloader
test_evaluator = val_evaluator
