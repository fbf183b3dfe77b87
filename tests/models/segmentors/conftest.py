# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the segmentors are tried on."""

import pytest
import torch


@pytest.fixture
def scenes():
    """Two images of a bright square on dark ground; seeds on a part of each."""
    images, masks = torch.randn(2, 3, 64, 64) * 0.1 - 1, torch.full((2, 64, 64), 255)
    for b, label in enumerate((1, 3)):
        images[b, label % 3, 16:48, 16:48] += 2
        masks[b, 24:40, 24:40] = label
        masks[b, :8] = 0
    return images, masks
