# A linear head on frozen ConvNeXt V2-T, average pooling, on CUB-200-2011: the control of its _efw, _ent and _tri configs.
_base_ = [
    '../_base_/models/frozen_convnextv2_tiny.py',
    '../_base_/datasets/cub.py',
    '../_base_/schedules/frozen_head_10e.py',
    '../_base_/default_runtime.py',
]
