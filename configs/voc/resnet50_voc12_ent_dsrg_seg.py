# The DSRG route: confident seeds go straight to a segmenter that grows them.
_base_ = './resnet50_voc12_ent_seg.py'
stages = dict(
    _delete_=True,
    classify=_base_.stages.classify,
    maps=_base_.stages.maps,
    seed=dict(type='Seed', background='entropy', power=1.0, scale=0.3),
    cues=dict(type='PseudoMasks', confidence=0.6),
    segment=dict(type='Segment', config='dsrg_deeplabv2_r101_voc12.py'),
    test=dict(type='Test', split='val', flip=True, crf=True),
)
