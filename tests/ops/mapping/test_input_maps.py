# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Gradients by the pixel, by loops; noise by its spread."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmentropy.ops.mapping import input_maps as ops


def test_input_gradient_by_loops():
    gradients = torch.randn(2, 3, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    images = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    plain, times = ops.input_gradient(gradients), ops.input_gradient(gradients, images)
    for n, k, y, x in np.ndindex(2, 3, 4, 5):
        slopes = gradients[n, k, :, y, x].tolist()
        assert float(plain[n, k, y, x]) == pytest.approx(max(abs(s) for s in slopes))
        both = sum(s * v for s, v in zip(slopes, images[n, :, y, x].tolist()))
        assert float(times[n, k, y, x]) == pytest.approx(abs(both), abs=1e-6)


def test_noise_is_the_same_each_time_and_as_wide_as_asked():
    image = torch.linspace(-1, 3, 3 * 8 * 8).view(3, 8, 8)
    noise = ops.noise_like(image, 50, 0.25)
    assert float(noise.std()) == pytest.approx(1.0, rel=0.05)
    assert torch.equal(noise[:3], ops.noise_like(image, 3, 0.25))
    assert not torch.equal(noise, ops.noise_like(image, 50, 0.25, seed=1))
