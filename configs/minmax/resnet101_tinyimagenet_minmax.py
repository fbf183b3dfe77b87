# On ResNet-101.
_base_ = './resnet18_tinyimagenet_minmax.py'
model = dict(backbone=dict(depth=101))
