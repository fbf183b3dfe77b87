# The plain CAM model on CAMELYON16 patches, judged by the pixel metric.
_base_ = [
    '../_base_/models/resnet50_cam.py',
    '../_base_/datasets/camelyon16.py',
    '../_base_/schedules/finetune_50e.py',
    '../_base_/default_runtime.py',
]
train_cfg = dict(max_epochs=20)
param_scheduler = dict(step_size=5)
