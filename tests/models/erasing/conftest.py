# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the erasers are tried on."""

import pytest
import torch


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
