# Entropy pooling instead of GAP.
_base_ = './seresnet50_in1k.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
