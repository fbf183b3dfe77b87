# The CAM paper's VGG-16 on CUB-200-2011.
_base_ = [
    '../_base_/models/vgg16gap.py',
    '../_base_/datasets/cub.py',
    '../_base_/schedules/finetune_50e.py',
    '../_base_/default_runtime.py',
]
