# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""VGG-GAP is torchvision's VGG up to conv5 without its last pooling, then the block."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from cam_backbones import check_published_weights
from torchvision.models.vgg import cfgs, make_layers

from mmentropy.models.backbones import VGGGAP


class OnlyFeatures(torch.nn.Module):
    """VGG without its 124 million fully connected weights, but for a bias that must not load."""

    def __init__(self, features):
        super().__init__()
        self.features, self.classifier = features, torch.nn.Linear(1, 9)


def test_published_weights_load_and_only_the_block_starts_fresh(tmp_path, monkeypatch):
    torch.manual_seed(0)
    reference = OnlyFeatures(make_layers(cfgs['A']))
    check_published_weights(partial(VGGGAP, 11), reference, reference.features[:20], 14, tmp_path, monkeypatch)


def test_other_depths_are_refused():
    with pytest.raises(ValueError, match='depth must be'):
        VGGGAP(12)
