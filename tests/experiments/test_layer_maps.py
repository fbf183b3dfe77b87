# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The mean of a layer's channels, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mmentropy.engine.model_loading import LoadedModel
from mmentropy.experiments.layer_maps import layer_maps


def test_means_of_the_channels_in_forward_order():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1), nn.Flatten(), nn.Linear(96, 2))
    loaded = LoadedModel(model.eval(), size=(16, 16))
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    found = layer_maps(loaded, image)
    assert list(found) == ['0', '1', '2']
    x = loaded.inputs([image])
    with torch.no_grad():
        for name in found:
            x = model[int(name)](x)
            np.testing.assert_allclose(found[name], x[0].mean(0).numpy(), rtol=1e-5, atol=1e-6)
    assert list(layer_maps(loaded, image, ['2'])) == ['2']
    with pytest.raises(ValueError, match=r"none of the layers \['4'\] gives a map"):
        layer_maps(loaded, image, ['4'])
    with pytest.raises(ValueError, match="has no layer 'layer9'"):
        layer_maps(loaded, image, ['layer9'])
