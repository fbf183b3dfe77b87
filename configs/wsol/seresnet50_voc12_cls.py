# SE-ResNet-50 on PASCAL VOC 2012, multi-label: the plain CAM model, fine-tuned.
_base_ = [
    '../_base_/models/seresnet50_cam.py',
    '../_base_/datasets/voc12_cls.py',
    '../_base_/schedules/finetune_50e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    head=dict(multi_label=True, loss=dict(_delete_=True, type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)))
train_cfg = dict(max_epochs=15)
param_scheduler = dict(step_size=5)
