# Every refiner once, and the DSRG route: growing, AffinityNet's walk, pixel-adaptive refinement, then the CRF.
_base_ = './resnet18_partshapes_ent.py'
stages = _base_.stages[:4] + [
    dict(type='PseudoMasks', name='sure_masks', confidence=0.9),
    dict(type='TrainAffinity', name='affinity', config='affinity_r18_partshapes.py', init_from='classify'),
    dict(type='GrowRefine', name='grow', source='seed', seed_confidence=0.8),
    dict(type='RandomWalkRefine', name='walk', affinity='affinity', radius=4, stride=4, log_steps=5),
    dict(type='PixelAdaptiveRefine', name='adapt', dilations=[1, 2, 4], iterations=5),
    dict(type='CrfRefine', name='last_crf', confidence=None, gaussian=[2, 3], bilateral=[20, 10, 6]),
    dict(type='PseudoMasks', name='masks'),
    dict(type='Segment', name='segment', config='dsrg_r18_partshapes.py'),
    dict(type='Test', name='test', split='val', crf=True),
]
