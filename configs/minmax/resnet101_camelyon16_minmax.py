# On ResNet-101.
_base_ = './resnet50_camelyon16_minmax.py'
model = dict(backbone={{_base_.depths.resnet101}})
