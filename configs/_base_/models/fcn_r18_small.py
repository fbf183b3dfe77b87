# A narrow ResNet-18 with an FCN head for 96-pixel images: an unmodified EncoderDecoder at stride 8.
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    backbone=dict(
        type='mmpretrain.ResNet',
        depth=18,
        base_channels=16,
        stem_channels=16,
        strides=(1, 2, 1, 1),
        out_indices=(0, 3),
        style='pytorch',
    ),
    # The finest layer and the last one, at the finest's resolution.
    decode_head=dict(
        type='FCNHead',
        in_channels=[16, 128],
        in_index=[0, 1],
        input_transform='resize_concat',
        channels=32,
        num_convs=1,
        concat_input=False,
        num_classes=6,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
