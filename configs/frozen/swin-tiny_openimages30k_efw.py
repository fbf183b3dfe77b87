# Entropy pooling instead of GAP.
_base_ = './swin-tiny_openimages30k.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
