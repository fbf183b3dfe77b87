# The plain CAM model on OpenImages30k, judged by the pixel metric.
_base_ = [
    '../_base_/models/resnet50_cam.py',
    '../_base_/datasets/openimages30k.py',
    '../_base_/schedules/finetune_10e.py',
    '../_base_/default_runtime.py',
]
