# InceptionV3 up to Mixed_6e with a 3×3 block, the stride of Mixed_6a taken out: 25×25 maps at 224 pixels.
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(
        type='mmentropy.EnlargedBackbone',
        backbone=dict(
            type='mmentropy.InceptionV3CAM', init_cfg=dict(type='Pretrained', checkpoint='torchvision://inception_v3_google')),
        stride_one=['Mixed_6a'],
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead', loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
)
