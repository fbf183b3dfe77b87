# Min-max entropy with the journal's loss on CUB-200-2011, judged by its boxes.
_base_ = [
    '../_base_/models/resnet50_minmax.py',
    '../_base_/datasets/cub.py',
    '../_base_/schedules/minmax_finetune_50e.py',
    '../_base_/default_runtime.py',
]
