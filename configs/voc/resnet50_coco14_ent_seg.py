# COCO 2014, which most work on weakly supervised segmentation reports: 82 081 images to train with, 40 137 to test.
_base_ = './resnet50_coco17_ent_seg.py'
data = dict(images='{split}2014', annotations='annotations/instances_{split}2014.json')
