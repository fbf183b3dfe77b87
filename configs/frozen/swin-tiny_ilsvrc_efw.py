# Entropy pooling instead of GAP.
_base_ = './swin-tiny_ilsvrc.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
