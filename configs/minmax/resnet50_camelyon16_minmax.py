# Min-max entropy with the journal's loss on CAMELYON16 patches.
_base_ = [
    '../_base_/models/resnet50_minmax.py',
    '../_base_/datasets/camelyon16.py',
    '../_base_/schedules/minmax_finetune_50e.py',
    '../_base_/default_runtime.py',
]
val_evaluator = [
    dict(type='Accuracy', topk=(1,)),
    dict(type='mmentropy.DiceMetric', prefix='dice'),
    dict(type='mmentropy.PixelLocalizationMetric'),
    dict(type='mmentropy.EntropyMetric'),
]
test_evaluator = val_evaluator
