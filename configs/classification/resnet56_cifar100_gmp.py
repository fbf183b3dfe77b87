# Global max pooling of the features instead of GAP.
_base_ = './resnet56_cifar100.py'
model = dict(neck=dict(type='mmentropy.GlobalMaxPooling'))
