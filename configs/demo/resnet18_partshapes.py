# The demo's plain CAM model: a narrow ResNet-18 on drawn images, minutes on two CPU cores.
_base_ = [
    '../_base_/models/resnet18_small_cam.py',
    '../_base_/datasets/partshapes.py',
    '../_base_/schedules/scratch_30e.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(base_channels=16, stem_channels=16))
train_cfg = dict(max_epochs=8, val_interval=8)
