# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""GoogLeNet-GAP is torchvision's GoogLeNet up to inception 4e, then the block."""

from __future__ import annotations

import torch
from cam_backbones import check_published_weights
from torchvision.models import googlenet

from mmentropy.models.backbones import GoogLeNetGAP


def test_published_weights_load_and_only_the_block_starts_fresh(tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = googlenet(weights=None, aux_logits=True, init_weights=False)

    def upto_4e(x: torch.Tensor) -> torch.Tensor:
        for name in ('conv1', 'maxpool1', 'conv2', 'conv3', 'maxpool2', 'inception3a', 'inception3b', 'maxpool3'):
            x = getattr(model, name)(x)
        for letter in 'abcde':
            x = getattr(model, f'inception4{letter}')(x)
        return x

    check_published_weights(GoogLeNetGAP, model, upto_4e, 14, tmp_path, monkeypatch)
