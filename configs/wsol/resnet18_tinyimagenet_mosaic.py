# Evaluation only: any resnet18_tinyimagenet checkpoint on 2×2 mosaics of the validation photographs.
_base_ = [
    '../_base_/models/resnet18_small_cam.py',
    '../_base_/datasets/tinyimagenet_mosaic.py',
    '../_base_/schedules/scratch_30e.py',
    '../_base_/default_runtime.py',
]
