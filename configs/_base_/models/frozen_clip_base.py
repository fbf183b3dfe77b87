# CLIP ViT-B/16, frozen: 14×14 maps at 224 pixels. The published weights were fine-tuned on ILSVRC; docs/frozen.md
# tells of the original with its text tower.
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch='b',
        img_size=224,
        patch_size=16,
        pre_norm=True,
        out_type='featmap',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/clip/clip-vit-base-p16_openai-pre_3rdparty_in1k_20221220-c7d9c899.pth',
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
