# Min-max entropy on Tiny ImageNet's photographs: 64 pixels, from scratch, judged by boxes.
_base_ = [
    '../_base_/models/resnet18_small_minmax.py',
    '../_base_/datasets/tinyimagenet.py',
    '../_base_/schedules/minmax_scratch_30e.py',
    '../_base_/default_runtime.py',
]
