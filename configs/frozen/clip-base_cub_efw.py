# Entropy pooling instead of GAP.
_base_ = './clip-base_cub.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
