# COCO 2014, which most work on weakly supervised segmentation reports.
_base_ = './resnet50_coco17_ent_seg.py'
data = dict(images='{split}2014', annotations='annotations/instances_{split}2014.json')
