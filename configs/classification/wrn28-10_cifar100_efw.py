# Entropy pooling instead of GAP.
_base_ = './wrn28-10_cifar100.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
