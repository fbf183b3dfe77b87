# Generalised-mean pooling with a learned power (the host’s neck).
_base_ = './resnet50_in1k.py'
model = dict(neck=dict(type='GeneralizedMeanPooling'))
