# Entropy pooling instead of GAP.
_base_ = './dinov2-base_ilsvrc.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
