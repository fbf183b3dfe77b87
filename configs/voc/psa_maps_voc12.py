# Somebody else's maps: a folder of <id>.npy dicts of PSA, SEAM or EPS (file_format='irn' for IRN's, 'sec' for SEC's).
_base_ = './resnet50_voc12_ent.py'
stages = [
    dict(type='ForeignMaps', name='maps', folder='data/foreign_maps', file_format='psa'),
    dict(type='Seed', name='seed', background='power', alpha=16.0),
    dict(type='CrfRefine', name='crf', confidence=None, bilateral=[80, 13, 10]),
    dict(type='PseudoMasks', name='masks'),
    dict(type='Segment', name='segment', config='deeplabv3plus_r50_voc12.py'),
    dict(type='Test', name='test', split='val', flip=True),
]
