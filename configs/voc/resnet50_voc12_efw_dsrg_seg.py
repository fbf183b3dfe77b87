# DSRG on the maps of entropy pooling alone, with its own cues: objects above 20 % of each class's maximum, background
# where nothing is salient, read from <id>.png of a salient-object detector.
_base_ = './resnet50_voc12_ent_dsrg_seg.py'
stages = dict(
    classify=dict(config='resnet50_voc12_cls_efw.py'),
    seed=dict(
        _delete_=True,
        type='Seed',
        background='saliency',
        saliency='data/VOCdevkit/VOC2012/saliency',
        cues=dict(fg_share=0.2),
    ),
)
