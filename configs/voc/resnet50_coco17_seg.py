# The control of resnet50_coco17_ent_seg.py: plain average pooling, all else the same.
_base_ = './resnet50_coco17_ent_seg.py'
stages = dict(classify=dict(config='../classification/resnet50_coco_cls.py'))
