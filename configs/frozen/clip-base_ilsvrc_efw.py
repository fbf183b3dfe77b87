# Entropy pooling instead of GAP.
_base_ = './clip-base_ilsvrc.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
