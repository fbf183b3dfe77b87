# The control of resnet50_coco14_ent_seg.py: plain average pooling, all else the same.
_base_ = './resnet50_coco17_seg.py'
data = dict(images='{split}2014', annotations='annotations/instances_{split}2014.json')
