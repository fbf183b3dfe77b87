# VGG-16 as the CAM paper has it, without its fourth pooling: 28×28 maps at 224 pixels (vgg16gap.py: 14×14).
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(
        type='mmentropy.EnlargedBackbone',
        backbone=dict(
            type='mmentropy.VGGGAP', depth=16, init_cfg=dict(type='Pretrained', checkpoint='torchvision://vgg16')),
        drop=['features.23'],
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead', loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
)
