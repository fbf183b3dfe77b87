# Somebody else's maps: a folder of <id>.npy dicts of PSA, SEAM or EPS (file_format='irn' for IRN's, 'sec' for SEC's).
_base_ = './resnet50_voc12_ent_seg.py'
stages = dict(
    _delete_=True,
    maps=dict(type='ForeignMaps', folder='data/foreign_maps', file_format='psa'),
    seed=dict(type='Seed', background='power', alpha=16.0),
    crf=_base_.stages.crf,
    masks=_base_.stages.masks,
    segment=_base_.stages.segment,
    test=dict(type='Test', split='val', flip=True),
)
