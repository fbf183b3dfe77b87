# ResNet-18 for 64-pixel images: 8×8 maps, trained from scratch.
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(type='ResNet', depth=18, strides=(1, 2, 1, 1), style='pytorch'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead', loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
)
