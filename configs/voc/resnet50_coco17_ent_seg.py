# The recipe of PASCAL VOC on COCO 2017: 80 classes, labels and true masks from the instances' JSON.
_base_ = './resnet50_voc12_ent_seg.py'
data = dict(_delete_=True, type='CocoInstances', root='data/coco', split='train')
stages = dict(
    classify=dict(config='resnet50_coco_cls_ent.py'),
    segment=dict(config='deeplabv3plus_r50_coco.py'),
    test=dict(scales=[1.0], crf=False),
)
