# The plain CAM model on Tiny ImageNet's photographs: 64 pixels, 8×8 maps, from scratch.
_base_ = [
    '../_base_/models/resnet18_small_cam.py',
    '../_base_/datasets/tinyimagenet.py',
    '../_base_/schedules/scratch_30e.py',
    '../_base_/default_runtime.py',
]
