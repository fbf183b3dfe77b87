# On ResNet-50.
_base_ = './resnet18_partshapes_minmax.py'
model = dict(backbone=dict(depth=50))
