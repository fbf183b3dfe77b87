# Entropy pooling instead of GAP.
_base_ = './sam-base_openimages30k.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
