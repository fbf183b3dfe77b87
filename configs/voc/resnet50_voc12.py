# The control of resnet50_voc12_ent.py: plain average pooling, all else the same.
_base_ = './resnet50_voc12_ent.py'
stages = _base_.stages
stages[0]['config'] = '../classification/resnet50_voc12_cls.py'
