# Min-max entropy on the drawn images: a narrow ResNet-18, the demo's schedule.
_base_ = [
    '../_base_/models/resnet18_small_minmax.py',
    '../_base_/datasets/partshapes.py',
    '../_base_/schedules/minmax_scratch_30e.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(base_channels=16, stem_channels=16))
train_cfg = dict(max_epochs=8, val_interval=8)
val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='mmentropy.DiceMetric', prefix='dice'),
    dict(type='mmentropy.PartCoverageMetric'),
    dict(type='mmentropy.PixelLocalizationMetric'),
    dict(type='mmentropy.BoxLocalizationMetric'),
]
test_evaluator = val_evaluator
