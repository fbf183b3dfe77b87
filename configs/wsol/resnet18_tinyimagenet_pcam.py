# Probabilistic-CAM pooling: each class weights locations by its own probability.
_base_ = './resnet18_tinyimagenet.py'
model = dict(neck=dict(type='mmentropy.PCAMPooling'))
