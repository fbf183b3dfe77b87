# Second-order pooling: the square root of the covariance over the locations.
_base_ = './resnet50_in1k.py'
model = dict(
    neck=dict(type='mmentropy.SecondOrderPooling', in_channels=2048, channels=256),
    head=dict(type='LinearClsHead', in_channels=32896),
)
