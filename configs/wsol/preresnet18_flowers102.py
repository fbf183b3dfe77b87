# PreResNet-18 on Oxford 102 flowers: the plain CAM model, from scratch: there are no published weights.
_base_ = [
    '../_base_/models/preresnet18_cam.py',
    '../_base_/datasets/flowers102.py',
    '../_base_/schedules/scratch_200e.py',
    '../_base_/default_runtime.py',
]
