# Entropy pooling instead of GAP.
_base_ = './swin-tiny_cub.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
