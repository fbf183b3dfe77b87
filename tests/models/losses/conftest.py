# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the seed losses are tried on."""

import pytest
import torch


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels that do not cover everything."""
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    label = torch.randint(0, 5, (3, 5, 6))
    label[label == 4] = 255
    label[1][label[1] == 0] = 255  # an image without background seeds
    return logits, label
