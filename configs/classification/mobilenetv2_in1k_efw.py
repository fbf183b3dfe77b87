# Entropy pooling instead of GAP.
_base_ = './mobilenetv2_in1k.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
