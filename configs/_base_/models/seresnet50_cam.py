# SE-ResNet-50 with its last strided convolution made non-strided: 14×14 maps at 224 pixels.
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(
        type='SEResNet',
        depth=50,
        strides=(1, 2, 2, 1),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/se-resnet/se-resnet50_batch256_imagenet_20200804-ae206104.pth',
            prefix='backbone',
        ),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead', loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
)
