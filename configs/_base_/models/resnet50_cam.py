# ResNet-50 with its last strided convolution made non-strided: 14×14 maps at 224 pixels (28×28 with (1, 2, 1, 1)).
# Global average pooling and a linear head: the plain CAM model. Methods change the neck and the head's loss.
# in_channels and num_classes are filled in by LocalizationClassifier.
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(
        type='ResNet',
        depth=50,
        strides=(1, 2, 2, 1),
        style='pytorch',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth',
            prefix='backbone',
        ),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead', loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
)
