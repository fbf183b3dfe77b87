# A linear head on frozen MAE-B, average pooling, on ILSVRC: the control of its _efw, _ent and _tri configs.
_base_ = [
    '../_base_/models/frozen_mae_base.py',
    '../_base_/datasets/ilsvrc.py',
    '../_base_/schedules/frozen_head_10e.py',
    '../_base_/default_runtime.py',
]
