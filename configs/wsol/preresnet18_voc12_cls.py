# PreResNet-18 on PASCAL VOC 2012, multi-label: the plain CAM model, from scratch: there are no published weights.
_base_ = [
    '../_base_/models/preresnet18_cam.py',
    '../_base_/datasets/voc12_cls.py',
    '../_base_/schedules/scratch_200e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    head=dict(multi_label=True, loss=dict(_delete_=True, type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)))
