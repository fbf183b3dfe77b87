# On ResNet-18.
_base_ = './resnet50_glas_minmax.py'
model = dict(backbone={{_base_.depths.resnet18}})
