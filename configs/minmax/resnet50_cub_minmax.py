# Min-max entropy with the journal's loss on CUB-200-2011: boxes choose, segmentations judge.
_base_ = [
    '../_base_/models/resnet50_minmax.py',
    '../_base_/datasets/cub_480.py',
    '../_base_/schedules/minmax_finetune_80e.py',
    '../_base_/evaluators/masks.py',
    '../_base_/default_runtime.py',
]
test_evaluator = _base_.mask_evaluator + [dict(type='mmentropy.BoxLocalizationMetric')]
