# A linear head on frozen Swin-T, average pooling, on PASCAL VOC 2012, multi-label: the control of its _efw, _ent and _tri configs.
_base_ = [
    '../_base_/models/frozen_swin_tiny.py',
    '../_base_/datasets/voc12_cls.py',
    '../_base_/schedules/frozen_head_10e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    head=dict(multi_label=True, loss=dict(_delete_=True, type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)))
