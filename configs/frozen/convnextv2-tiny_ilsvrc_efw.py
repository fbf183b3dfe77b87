# Entropy pooling instead of GAP.
_base_ = './convnextv2-tiny_ilsvrc.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
