# A linear head on frozen Swin-T, average pooling, on OpenImages30k: the control of its _efw, _ent and _tri configs.
_base_ = [
    '../_base_/models/frozen_swin_tiny.py',
    '../_base_/datasets/openimages30k.py',
    '../_base_/schedules/frozen_head_10e.py',
    '../_base_/default_runtime.py',
]
