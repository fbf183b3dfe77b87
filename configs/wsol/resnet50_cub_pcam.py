# Probabilistic-CAM pooling: each class weights locations by its own probability.
_base_ = './resnet50_cub.py'
model = dict(neck=dict(type='mmentropy.PCAMPooling'))
