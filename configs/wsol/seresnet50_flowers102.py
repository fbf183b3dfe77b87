# SE-ResNet-50 on Oxford 102 flowers: the plain CAM model, fine-tuned.
_base_ = [
    '../_base_/models/seresnet50_cam.py',
    '../_base_/datasets/flowers102.py',
    '../_base_/schedules/finetune_50e.py',
    '../_base_/default_runtime.py',
]
