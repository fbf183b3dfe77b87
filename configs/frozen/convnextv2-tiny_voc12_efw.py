# Entropy pooling instead of GAP.
_base_ = './convnextv2-tiny_voc12.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling', entropy=dict(score='sigmoid')))
