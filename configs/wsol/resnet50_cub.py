# The plain CAM model on CUB-200-2011: GAP, cross-entropy, 14×14 maps.
_base_ = [
    '../_base_/models/resnet50_cam.py',
    '../_base_/datasets/cub.py',
    '../_base_/schedules/finetune_50e.py',
    '../_base_/default_runtime.py',
]
