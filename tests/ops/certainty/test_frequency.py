# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Frequency pooling against numpy's and SciPy's transforms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from mmentropy.ops.certainty.frequency import frequency_count, frequency_pool

FEATURES = torch.rand(2, 3, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('size', [1, 2, 3])
def test_magnitudes_are_numpys(size):
    spectrum = np.abs(np.fft.fft2(FEATURES.numpy())) / 30
    found = frequency_pool(FEATURES, size).reshape(2, 3, -1).numpy()
    every = [spectrum[..., u, v] for u in range(1 - size, size) for v in range(1 - size, size)]
    assert found.shape[-1] == frequency_count(size)
    for found_set, every_set in zip(found.reshape(6, -1), np.stack(every, -1).reshape(6, -1)):
        # The symmetry of a real map doubles each magnitude but the mean's.
        np.testing.assert_allclose(np.sort(np.r_[found_set, found_set[1:]]), np.sort(every_set), atol=2e-6)
    np.testing.assert_allclose(found[..., 0], FEATURES.mean((2, 3)), atol=2e-6)


def test_cosines_are_scipys():
    expected = dctn(FEATURES.numpy(), type=2, axes=(2, 3))[..., :2, :2] / 4 / 30
    np.testing.assert_allclose(frequency_pool(FEATURES, 2, 'dct').reshape(2, 3, 2, 2), expected, atol=1e-12)


def test_size_one_is_the_mean():
    for transform in ('dft', 'dct'):
        torch.testing.assert_close(frequency_pool(FEATURES, 1, transform), FEATURES.mean((2, 3)), atol=2e-6, rtol=0)


def test_magnitudes_ignore_a_cyclic_shift_and_cosines_do_not():
    shifted = FEATURES.roll((1, 2), dims=(2, 3))
    torch.testing.assert_close(frequency_pool(shifted, 2), frequency_pool(FEATURES, 2), atol=1e-9, rtol=0)
    assert not torch.allclose(frequency_pool(shifted, 2, 'dct'), frequency_pool(FEATURES, 2, 'dct'), atol=1e-3)


def test_gradients_are_right_and_finite_at_zero():
    assert torch.autograd.gradcheck(frequency_pool, FEATURES.clone().requires_grad_())
    nothing = torch.zeros(1, 2, 4, 4, requires_grad=True)
    frequency_pool(nothing).sum().backward()
    assert torch.isfinite(nothing.grad).all()


@pytest.mark.parametrize(
    ('options', 'text'),
    [(dict(transform='fft'), 'transform must be'), (dict(size=6), '1 to 5'), (dict(size=0), '1 to')],
)
def test_refusals(options, text):
    with pytest.raises(ValueError, match=text):
        frequency_pool(FEATURES, **options)
