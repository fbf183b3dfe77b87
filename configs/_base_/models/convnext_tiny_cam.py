# ConvNeXt-T with its last down-sampling made non-strided: 14×14 maps at 224 pixels.
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(
        type='mmentropy.EnlargedBackbone',
        backbone=dict(
            type='ConvNeXt',
            arch='tiny',
            gap_before_final_norm=False,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://download.openmmlab.com/mmclassification/v0/convnext/convnext-tiny_32xb128_in1k_20221207-998cf3e9.pth',
                prefix='backbone',
            ),
        ),
        stride_one=['downsample_layers.3'],
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead', loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
)
