# Entropy pooling instead of GAP.
_base_ = './convnextv2-tiny_openimages30k.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
