# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the map methods are tried on."""

import pytest
import torch


@pytest.fixture
def images():
    return torch.randn(2, 3, 20, 28, generator=torch.Generator().manual_seed(1))
