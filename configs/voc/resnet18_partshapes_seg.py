# The control of resnet18_partshapes_ent_seg.py: plain average pooling, all else the same.
_base_ = './resnet18_partshapes_ent_seg.py'
stages = dict(classify=dict(config='resnet18_partshapes_cls.py'))
