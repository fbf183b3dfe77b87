# Evaluation only: an entropy-pooling checkpoint on the mosaics.
_base_ = './resnet18_tinyimagenet_mosaic.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
