# PreResNet-18 on CUB-200-2011: the plain CAM model.
_base_ = [
    '../_base_/models/preresnet18_cam.py',
    '../_base_/datasets/cub.py',
    '../_base_/schedules/finetune_50e.py',
    '../_base_/default_runtime.py',
]
