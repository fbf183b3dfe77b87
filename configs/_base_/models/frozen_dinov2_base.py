# DINOv2 ViT-B/14, frozen: 16×16 maps at 224 pixels. The host has no registers.
_base_ = './frozen_dinov2_small.py'
model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(
            checkpoint='https://download.openmmlab.com/mmpretrain/v1.0/dinov2/vit-base-p14_dinov2-pre_3rdparty_20230426-ba246503.pth',
        ),
    ),
)
