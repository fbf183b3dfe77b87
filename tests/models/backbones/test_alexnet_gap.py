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
