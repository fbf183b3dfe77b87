# Entropy pooling instead of GAP.
_base_ = './mae-base_ilsvrc.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
