# PreResNet-18 with its last strided convolution made non-strided: 14×14 maps at 224 pixels.
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(type='mmentropy.PreActResNet', depth=18, strides=(1, 2, 2, 1)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead', loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
)
