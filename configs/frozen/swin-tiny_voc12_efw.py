# Entropy pooling instead of GAP.
_base_ = './swin-tiny_voc12.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling', entropy=dict(score='sigmoid')))
