# Every refiner once, and the DSRG route: growing, AffinityNet's walk, pixel-adaptive refinement, then the CRF.
_base_ = './resnet18_partshapes_ent_seg.py'
stages = dict(
    _delete_=True,
    classify=_base_.stages.classify,
    maps=_base_.stages.maps,
    seed=_base_.stages.seed,
    crf=_base_.stages.crf,
    sure_masks=dict(type='PseudoMasks', confidence=0.9),
    affinity=dict(type='TrainAffinity', config='affinity_r18_partshapes.py', init_from='classify'),
    grow=dict(type='GrowRefine', source='seed', seed_confidence=0.8),
    walk=dict(type='RandomWalkRefine', affinity='affinity', radius=4, stride=4, log_steps=5),
    adapt=dict(type='PixelAdaptiveRefine', dilations=[1, 2, 4], iterations=5),
    last_crf=dict(type='CrfRefine', confidence=None, gaussian=[2, 3], bilateral=[20, 10, 6]),
    masks=dict(type='PseudoMasks'),
    segment=dict(type='Segment', config='dsrg_r18_partshapes.py'),
    test=dict(type='Test', split='val', crf=True),
)
