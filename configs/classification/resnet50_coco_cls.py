# The plain CAM model on COCO, multi-label: the source of seeds.
_base_ = [
    '../_base_/models/resnet50_cam.py',
    '../_base_/datasets/coco_cls.py',
    '../_base_/schedules/finetune_50e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    head=dict(multi_label=True, loss=dict(_delete_=True, type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)))
train_cfg = dict(max_epochs=10)
param_scheduler = dict(step_size=4)
