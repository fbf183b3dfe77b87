# The plain CAM classifier of the PartShapes pipeline, multi-label: the control.
_base_ = [
    '../_base_/models/resnet18_small_cam.py',
    '../_base_/datasets/partshapes_voc.py',
    '../_base_/schedules/scratch_30e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(base_channels=16, stem_channels=16),
    head=dict(multi_label=True, loss=dict(_delete_=True, type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)),
)
