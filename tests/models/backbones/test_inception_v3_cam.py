# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""InceptionV3-CAM is the host's InceptionV3 up to Mixed_6e, then the block."""

from __future__ import annotations

import torch
from cam_backbones import check_published_weights
from mmpretrain.models.backbones import InceptionV3

from mmentropy.models.backbones import InceptionV3CAM


def test_published_weights_load_and_only_the_block_starts_fresh(tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = InceptionV3(num_classes=3)
    seen = []
    model.Mixed_6e.register_forward_hook(lambda module, inputs, output: seen.append(output))

    def upto_6e(x: torch.Tensor) -> torch.Tensor:
        model(x)
        return seen.pop()

    check_published_weights(InceptionV3CAM, model, upto_6e, 12, tmp_path, monkeypatch)
