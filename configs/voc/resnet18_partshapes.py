# The control of resnet18_partshapes_ent.py: plain average pooling, all else the same.
_base_ = './resnet18_partshapes_ent.py'
stages = _base_.stages
stages[0]['config'] = 'resnet18_partshapes_cls.py'
