# The plain CAM model on ILSVRC 2012: a short fine-tuning, validation on ImageNetV2.
_base_ = [
    '../_base_/models/resnet50_cam.py',
    '../_base_/datasets/ilsvrc.py',
    '../_base_/schedules/finetune_10e.py',
    '../_base_/default_runtime.py',
]
