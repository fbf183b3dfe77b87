# Control: plain CAM, its map of the label's class normalised and cut at one half. Batch norms and budget as for min-max.
_base_ = [
    '../_base_/models/resnet50_cam.py',
    '../_base_/datasets/cub_480.py',
    '../_base_/schedules/finetune_80e.py',
    '../_base_/evaluators/masks.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(norm_eval=True))
test_evaluator = _base_.map_evaluator
