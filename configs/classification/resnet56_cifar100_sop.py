# Second-order pooling: the square root of the covariance over the locations.
_base_ = './resnet56_cifar100.py'
model = dict(
    neck=dict(type='mmentropy.SecondOrderPooling', in_channels=64, channels=32),
    head=dict(type='LinearClsHead', in_channels=528),
)
