# DeiT-S: its patch tokens are the map, 14×14 at 224 pixels.
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch='deit-small',
        img_size=224,
        patch_size=16,
        out_type='featmap',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/deit/deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth',
            prefix='backbone',
        ),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead', loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
)
