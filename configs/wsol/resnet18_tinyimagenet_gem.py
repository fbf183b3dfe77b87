# Generalised-mean pooling with a learned power (the host's neck).
_base_ = './resnet18_tinyimagenet.py'
model = dict(neck=dict(type='GeneralizedMeanPooling'))
