# PreResNet-18 on OpenImages30k: the plain CAM model, from scratch: there are no published weights.
_base_ = [
    '../_base_/models/preresnet18_cam.py',
    '../_base_/datasets/openimages30k.py',
    '../_base_/schedules/scratch_200e.py',
    '../_base_/default_runtime.py',
]
