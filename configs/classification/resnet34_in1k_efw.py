# Entropy pooling instead of GAP.
_base_ = './resnet34_in1k.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
