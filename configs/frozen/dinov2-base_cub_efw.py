# Entropy pooling instead of GAP.
_base_ = './dinov2-base_cub.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
