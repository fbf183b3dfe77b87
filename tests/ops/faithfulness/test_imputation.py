# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""ROAD's imputation, against a dense solve."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dense_imputation import dense

from mmentropy.ops.faithfulness.imputation import impute


@pytest.mark.parametrize(('height', 'width'), [(16, 16), (13, 22), (1, 9), (9, 1), (2, 3)])
@pytest.mark.parametrize('share', [0.1, 0.5, 0.95])
def test_the_solution_is_that_of_a_dense_solve(height, width, share):
    rng = np.random.default_rng(height * 100 + int(10 * share))
    images = rng.normal(size=(3, 2, height, width)).astype(np.float32)
    # Scattered pixels, and one hole that reaches the border.
    removed = rng.random((3, height, width)) < share
    removed[1] = False
    removed[1, : max(1, round(share * height)), : max(1, round(share * width))] = True
    removed[:, -1, -1] = False
    found = impute(torch.from_numpy(images), torch.from_numpy(removed)).numpy()
    wanted = np.stack([dense(*pair) for pair in zip(images, removed)])
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    assert np.array_equal(
        found[~np.broadcast_to(removed[:, None], found.shape)], images[~np.broadcast_to(removed[:, None], found.shape)]
    )


def test_a_batch_is_its_images_one_by_one():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 20, 20, generator=generator)
    removed = torch.rand(4, 20, 20, generator=generator) < torch.tensor([0.0, 0.3, 0.6, 0.9])[:, None, None]
    alone = torch.cat([impute(images[i : i + 1], removed[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(impute(images, removed), alone, atol=1e-5, rtol=0)
    assert torch.equal(alone[0], images[0])


def test_a_constant_image_stays_constant():
    removed = torch.zeros(1, 8, 8, dtype=torch.bool)
    removed[0, 2:7, 2:7] = True
    torch.testing.assert_close(impute(torch.full((1, 3, 8, 8), 7.0), removed), torch.full((1, 3, 8, 8), 7.0))


def test_a_slope_goes_on_through_a_hole():
    # A linear function solves the system inside: each pixel is the mean of its neighbours.
    slope = torch.arange(15.0).expand(1, 1, 15, 15).clone()
    removed = torch.zeros(1, 15, 15, dtype=torch.bool)
    removed[0, 3:11, 4:12] = True
    torch.testing.assert_close(impute(slope, removed), slope, atol=1e-3, rtol=0)


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match='nothing is left of image 1 of the batch'):
        impute(torch.zeros(2, 1, 2, 2), torch.tensor([[[False, True]] * 2, [[True, True]] * 2]))
    with pytest.raises(ValueError, match=r'removed must be \(N, H, W\)'):
        impute(torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2, dtype=torch.bool))
