# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The published layers of Network in Network."""

from __future__ import annotations

import torch
from torch import nn

from mmentropy.models.backbones import NIN


def test_layers_and_map():
    with torch.device('meta'):
        network = NIN()
        out = network(torch.zeros(1, 3, 224, 224))[0]
    convs = [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert convs == [
        *((3, 96, 11), (96, 96, 1), (96, 96, 1), (96, 256, 5), (256, 256, 1), (256, 256, 1)),
        *((256, 384, 3), (384, 384, 1), (384, 384, 1), (384, 1024, 3), (1024, 1024, 1), (1024, 1024, 1)),
    ]
    assert out.shape == (1, network.feat_dim, 6, 6)
