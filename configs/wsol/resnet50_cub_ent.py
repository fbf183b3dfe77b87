# The whole entropy system: entropy pooling and the entropy-regularised loss.
_base_ = './resnet50_cub_er.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
