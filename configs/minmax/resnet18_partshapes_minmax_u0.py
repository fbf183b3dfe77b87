# Without recursive erasing.
_base_ = './resnet18_partshapes_minmax.py'
model = dict(erasing=dict(steps=0))
