# From image labels to a tested segmenter on PASCAL VOC 2012: AffinityNet's recipe on entropy-pooled maps.
data = dict(root='data/VOCdevkit/VOC2012', split='trainaug', truth='SegmentationClassAug')
stages = [
    dict(type='Classify', name='classify', config='resnet50_voc12_cls_ent.py'),
    dict(type='ClassMaps', name='maps', scales=[1.0, 0.5, 1.5, 2.0], stride=4),
    dict(type='Seed', name='seed', background='constant', threshold=0.15),
    # Confident masks teach the affinity.
    dict(type='CrfRefine', name='sure_crf', confidence=0.7, bilateral=[50, 5, 10]),
    dict(type='PseudoMasks', name='sure_masks', confidence=0.9),
    dict(type='TrainAffinity', name='affinity', config='affinity_r50_voc12.py', init_from='classify'),
    dict(type='RandomWalkRefine', name='walk', source='seed', affinity='affinity', radius=5, beta=8.0, log_steps=8),
    dict(type='CrfRefine', name='crf', confidence=None, bilateral=[80, 13, 10]),
    dict(type='PseudoMasks', name='masks'),
    dict(type='Segment', name='segment', config='deeplabv3plus_r50_voc12.py'),
    dict(type='Test', name='test', split='val', scales=[0.5, 0.75, 1.0, 1.25, 1.5], flip=True, crf=True),
]
