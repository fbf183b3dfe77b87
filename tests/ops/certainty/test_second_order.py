# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Second-order pooling against numpy's covariance and SciPy's square root."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from mmentropy.ops.certainty.second_order import covariance, matrix_square_root, second_order_pool

FEATURES = torch.randn(2, 4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_covariance_is_numpys():
    expected = [np.cov(one.reshape(4, -1).numpy(), bias=True) for one in FEATURES]
    np.testing.assert_allclose(covariance(FEATURES), expected, rtol=1e-12)


def test_square_root_is_scipys():
    matrices = covariance(FEATURES)
    expected = [scipy.linalg.sqrtm(one.numpy()) for one in matrices]
    np.testing.assert_allclose(matrix_square_root(matrices, iterations=30, eps=0), expected, rtol=1e-8, atol=1e-10)


def test_five_iterations_are_near():
    root = matrix_square_root(covariance(FEATURES), iterations=5)
    torch.testing.assert_close(root @ root, covariance(FEATURES), rtol=0.02, atol=0.02)


def test_pooled_is_the_upper_triangle():
    pooled = second_order_pool(FEATURES, iterations=0)
    expected = covariance(FEATURES)
    assert pooled.shape == (2, 10)
    assert torch.equal(pooled[0], expected[0][np.triu_indices(4)])


def test_gradients_and_constant_maps():
    x = FEATURES.clone().requires_grad_()
    assert torch.autograd.gradcheck(second_order_pool, x)
    constant = torch.ones(1, 3, 4, 4, requires_grad=True)
    second_order_pool(constant).sum().backward()
    assert torch.isfinite(constant.grad).all()


def test_half_precision_is_pooled_in_single():
    assert second_order_pool(FEATURES.half()).dtype == torch.float32


@pytest.mark.parametrize(('shape', 'iterations', 'text'), [((2, 3), 1, 'square matrices'), ((2, 2), 0, 'at least one')])
def test_refusals(shape, iterations, text):
    with pytest.raises(ValueError, match=text):
        matrix_square_root(torch.zeros(shape), iterations)
