# Min-max entropy with the journal's loss on GlaS.
_base_ = [
    '../_base_/models/resnet50_minmax.py',
    '../_base_/datasets/glas.py',
    '../_base_/schedules/minmax_finetune_80e.py',
    '../_base_/evaluators/masks.py',
    '../_base_/default_runtime.py',
]
val_evaluator = _base_.mask_evaluator
test_evaluator = val_evaluator
