# ConvNeXt V2-T, frozen: 7×7 maps at 224 pixels. Self-supervised (FCMAE).
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(
        type='ConvNeXt',
        arch='tiny',
        drop_path_rate=0.0,
        layer_scale_init_value=0.0,
        use_grn=True,
        gap_before_final_norm=False,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/convnext-v2/convnext-v2-tiny_3rdparty-fcmae_in1k_20230104-80513adc.pth',
            prefix='backbone',
        ),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead', loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
    freeze_backbone=True,
)
