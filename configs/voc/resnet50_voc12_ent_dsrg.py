# The DSRG route: confident seeds go straight to a segmenter that grows them.
data = dict(root='data/VOCdevkit/VOC2012', split='trainaug', truth='SegmentationClassAug')
stages = [
    dict(type='Classify', name='classify', config='resnet50_voc12_cls_ent.py'),
    dict(type='ClassMaps', name='maps', scales=[1.0, 0.5, 1.5, 2.0], stride=4),
    dict(type='Seed', name='seed', background='entropy', power=1.0, scale=0.3),
    dict(type='PseudoMasks', name='cues', confidence=0.6),
    dict(type='Segment', name='segment', config='dsrg_deeplabv2_r101_voc12.py'),
    dict(type='Test', name='test', split='val', flip=True, crf=True),
]
