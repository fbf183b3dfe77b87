# PreResNet-18 on CUB-200-2011: the plain CAM model, from scratch. There are no published weights of this network; expect
# less than of a pretrained one, or give your own by load_from and take finetune_50e.py.
_base_ = [
    '../_base_/models/preresnet18_cam.py',
    '../_base_/datasets/cub.py',
    '../_base_/schedules/scratch_200e.py',
    '../_base_/evaluators/er2023.py',
    '../_base_/default_runtime.py',
]
val_evaluator = _base_.er2023_evaluator
test_evaluator = val_evaluator
