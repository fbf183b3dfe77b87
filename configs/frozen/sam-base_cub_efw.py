# Entropy pooling instead of GAP.
_base_ = './sam-base_cub.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
