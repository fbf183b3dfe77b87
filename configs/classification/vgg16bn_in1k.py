# mmpretrain's own recipe of VGG-16 with batch norm, its fully connected layers replaced by average pooling and our classifier.
_base_ = 'mmpretrain::vgg/vgg16bn_8xb32_in1k.py'
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(num_classes=-1),
    neck=dict(_delete_=True, type='GlobalAveragePooling'),
    head=dict(_delete_=True, type='mmentropy.CAMHead', num_classes=1000, in_channels=512),
)
