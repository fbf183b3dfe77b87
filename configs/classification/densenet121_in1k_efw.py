# Entropy pooling instead of GAP.
_base_ = './densenet121_in1k.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
