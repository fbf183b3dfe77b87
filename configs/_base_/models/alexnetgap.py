# AlexNet as the CAM paper has it: no fully connected layers, a 3×3-1024 block, global average pooling. 13×13 maps.
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(type='mmentropy.AlexNetGAP', init_cfg=dict(type='Pretrained', checkpoint='torchvision://alexnet')),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead', loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
)
