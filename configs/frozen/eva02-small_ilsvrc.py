# A linear head on frozen EVA-02-S, average pooling, on ILSVRC: the control of its _efw, _ent and _tri configs.
_base_ = [
    '../_base_/models/frozen_eva02_small.py',
    '../_base_/datasets/ilsvrc.py',
    '../_base_/schedules/frozen_head_10e.py',
    '../_base_/default_runtime.py',
]
data_preprocessor = dict(mean={{_base_.image_mean}}, std={{_base_.image_std}})
