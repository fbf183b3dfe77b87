# Frequency pooling: magnitudes of the lowest frequencies of each channel.
_base_ = './resnet56_cifar100.py'
model = dict(
    neck=dict(type='mmentropy.FrequencyPooling', in_channels=64, size=2),
    head=dict(type='LinearClsHead', in_channels=320),
)
