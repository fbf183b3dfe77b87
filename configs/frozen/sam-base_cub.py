# A linear head on frozen SAM-B, average pooling, on CUB-200-2011: the control of its _efw, _ent and _tri configs.
_base_ = [
    '../_base_/models/frozen_sam_base.py',
    '../_base_/datasets/cub.py',
    '../_base_/schedules/frozen_head_10e.py',
    '../_base_/default_runtime.py',
]
