# SE-ResNet-50 on OpenImages30k: the plain CAM model, fine-tuned.
_base_ = [
    '../_base_/models/seresnet50_cam.py',
    '../_base_/datasets/openimages30k.py',
    '../_base_/schedules/finetune_10e.py',
    '../_base_/default_runtime.py',
]
