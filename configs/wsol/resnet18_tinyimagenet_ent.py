# The whole entropy system: entropy pooling with half of the loss on plain pooling, and the entropy-regularised loss.
_base_ = './resnet18_tinyimagenet_er.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'), head=dict(auxiliary_gap=0.5))
