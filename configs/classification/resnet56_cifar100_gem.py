# Generalised-mean pooling with a learned power (the host’s neck).
_base_ = './resnet56_cifar100.py'
model = dict(neck=dict(type='GeneralizedMeanPooling'))
