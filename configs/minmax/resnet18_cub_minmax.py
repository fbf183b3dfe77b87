# On ResNet-18.
_base_ = './resnet50_cub_minmax.py'
model = dict(backbone={{_base_.depths.resnet18}})
