# The DSRG route: sparse cues go straight to a segmenter that grows them. The background's cues are where the entropy is
# highest; the paper's are where nothing is salient: background='saliency', saliency='<folder of <id>.png>', cues=dict().
_base_ = './resnet50_voc12_ent_seg.py'
stages = dict(
    _delete_=True,
    classify=_base_.stages.classify,
    maps=_base_.stages.maps,
    seed=dict(type='Seed', background='entropy', cues=dict(fg_share=0.2, bg_share=0.1)),
    cues=dict(type='PseudoMasks', confidence=0.6),
    segment=dict(type='Segment', config='dsrg_deeplabv2_r101_voc12.py'),
    test=dict(type='Test', split='val', flip=True, crf=True),
)
