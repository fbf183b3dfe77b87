# The plain CAM model on GlaS, judged by the pixel metric.
_base_ = [
    '../_base_/models/resnet50_cam.py',
    '../_base_/datasets/glas.py',
    '../_base_/schedules/finetune_50e.py',
    '../_base_/default_runtime.py',
]
