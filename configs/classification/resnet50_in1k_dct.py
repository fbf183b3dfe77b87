# Frequency pooling by cosines: the lowest coefficients of each channel.
_base_ = './resnet50_in1k.py'
model = dict(
    neck=dict(type='mmentropy.FrequencyPooling', in_channels=2048, size=2, transform='dct'),
    head=dict(type='LinearClsHead', in_channels=8192),
)
