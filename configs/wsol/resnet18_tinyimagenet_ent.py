# The whole entropy system: entropy pooling and the entropy-regularised loss.
_base_ = './resnet18_tinyimagenet_er.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
