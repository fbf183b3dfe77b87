# EVA-02 ViT-S/14, frozen: 16×16 maps at 224 pixels.
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(
        type='ViTEVA02',
        arch='s',
        img_size=224,
        patch_size=14,
        final_norm=False,
        out_type='featmap',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmpretrain/v1.0/eva02/eva02-small-p14_pre_in21k_20230505-3175f463.pth',
            prefix='backbone',
        ),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead', loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
    freeze_backbone=True,
)

# What it was trained with; configs hand it to the data_preprocessor.
image_mean = [122.7709383, 116.7460125, 104.09373615]
image_std = [68.5005327, 66.6321579, 70.32316305]
