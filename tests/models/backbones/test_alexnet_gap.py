# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""AlexNet-GAP is torchvision's AlexNet up to conv5, then the block."""

from __future__ import annotations

import torch
import torchvision
from cam_backbones import check_published_weights

from mmentropy.models.backbones import AlexNetGAP


def test_published_weights_load_and_only_the_block_starts_fresh(tmp_path, monkeypatch):
    torch.manual_seed(0)
    reference = torchvision.models.alexnet()
    check_published_weights(AlexNetGAP, reference, reference.features[:12], 13, tmp_path, monkeypatch)


def test_alexnet_star_has_two_more_convolutions_before_the_block():
    backbone = AlexNetGAP(extra_convs=2, extra_channels=6, out_channels=8).eval()
    image = torch.randn(1, 3, 64, 64)
    x = backbone.features(image)
    for layer in (backbone.extra[0], backbone.extra[2], backbone.cam_conv[0]):
        x = torch.nn.functional.conv2d(x, layer.weight, layer.bias, padding=1).relu()
    torch.testing.assert_close(backbone(image)[0], x)
    assert [tuple(layer.weight.shape[:2]) for layer in backbone.extra[::2]] == [(6, 256), (6, 6)]
