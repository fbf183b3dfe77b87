# VGG-16 with 28×28 maps on CUB-200-2011: the plain CAM model.
_base_ = [
    '../_base_/models/vgg16gap28.py',
    '../_base_/datasets/cub.py',
    '../_base_/schedules/finetune_50e.py',
    '../_base_/default_runtime.py',
]
