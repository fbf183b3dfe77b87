# From image labels to a tested segmenter on PASCAL VOC 2012: AffinityNet's recipe on entropy-pooled maps.
data = dict(root='data/VOCdevkit/VOC2012', split='trainaug', truth='SegmentationClassAug')
stages = dict(
    classify=dict(type='Classify', config='resnet50_voc12_cls_ent.py'),
    maps=dict(type='ClassMaps', scales=[1.0, 0.5, 1.5, 2.0], stride=4),
    seed=dict(type='Seed', background='constant', threshold=0.15),
    # Confident masks teach the affinity.
    sure_crf=dict(type='CrfRefine', confidence=0.7, bilateral=[50, 5, 10]),
    sure_masks=dict(type='PseudoMasks', confidence=0.9),
    affinity=dict(type='TrainAffinity', config='affinity_r50_voc12.py', init_from='classify'),
    walk=dict(type='RandomWalkRefine', source='seed', affinity='affinity', radius=5, beta=8.0, log_steps=8),
    crf=dict(type='CrfRefine', confidence=None, bilateral=[80, 13, 10]),
    masks=dict(type='PseudoMasks'),
    segment=dict(type='Segment', config='deeplabv3plus_r50_voc12.py'),
    test=dict(type='Test', split='val', scales=[0.5, 0.75, 1.0, 1.25, 1.5], flip=True, crf=True),
)
