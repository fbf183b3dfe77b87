# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The configured backbones: sizes of their last maps at 224 pixels."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

MODELS_DIR = Path(__file__).resolve().parents[2] / 'configs/_base_/models'


@pytest.mark.parametrize(
    ('name', 'size', 'channels'),
    [
        ('preresnet18_cam', 14, 512),
        ('seresnet50_cam', 14, 2048),
        ('vgg16gap28', 28, 1024),
        ('inceptionv3_cam', 25, 1024),
        ('deit_small_cam', 14, 384),
        ('convnext_tiny_cam', 14, 768),
    ],
)
def test_size_of_the_last_map(name, size, channels):
    from mmpretrain.registry import MODELS

    cfg = Config.fromfile(str(MODELS_DIR / f'{name}.py')).model.backbone
    cfg.pop('init_cfg', None)
    if 'backbone' in cfg:
        cfg.backbone.pop('init_cfg', None)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        backbone = MODELS.build(cfg).to('meta')  # shapes alone: nothing is computed there
    backbone.eval()
    out = backbone(torch.zeros(1, 3, 224, 224, device='meta'))
    assert tuple(out[-1].shape) == (1, channels, size, size)
