# SE-ResNet-50 on CUB-200-2011: the plain CAM model.
_base_ = [
    '../_base_/models/seresnet50_cam.py',
    '../_base_/datasets/cub.py',
    '../_base_/schedules/finetune_50e.py',
    '../_base_/evaluators/er2023.py',
    '../_base_/default_runtime.py',
]
val_evaluator = _base_.er2023_evaluator
test_evaluator = val_evaluator
