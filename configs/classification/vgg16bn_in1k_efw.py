# Entropy pooling instead of GAP.
_base_ = './vgg16bn_in1k.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
