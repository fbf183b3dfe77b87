# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Eigen-CAM by a full decomposition, Ablation-CAM and fusion by loops, controls by their promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmentropy.ops.mapping import activation_maps as ops
from mmentropy.ops.mapping.geometry import MapGrid


@pytest.mark.parametrize('shape', [(2, 9, 2, 3), (2, 3, 5, 7)])  # more channels than locations, and fewer
def test_eigen_cam_is_the_first_component(shape):
    features = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    found = ops.eigen_cam(features)[:, 0].numpy()
    for one, f in zip(found, features.numpy()):
        matrix = f.reshape(shape[1], -1).T.astype(np.float64)
        matrix = matrix - matrix.mean(0)
        component = matrix @ np.linalg.svd(matrix, full_matrices=False)[2][0]
        sign = np.sign(np.corrcoef(component, f.mean(0).ravel())[0, 1])
        np.testing.assert_allclose(one.ravel(), sign * component, atol=1e-6)
    assert (ops.eigen_cam(torch.ones(1, 3, 2, 2)) == 0).all()


def test_ablation_by_loops():
    rng = torch.Generator().manual_seed(0)
    features = torch.rand(2, 4, 2, 3, generator=rng)
    weight, bias = torch.randn(5, 4, generator=rng), torch.randn(5, generator=rng)
    logits = features.mean((2, 3)) @ weight.T + bias
    ablated = ops.ablated_logits(features, logits, weight)
    for n, d in np.ndindex(2, 4):
        without = features[n].clone()
        without[d] = 0
        torch.testing.assert_close(ablated[n, d], weight @ without.mean((1, 2)) + bias)
    maps = ops.ablation_cam(features, logits[:, :2], ablated[..., :2].transpose(1, 2))
    for n, k in np.ndindex(2, 2):
        share = (logits[n, k] - ablated[n, :, k]) / logits[n, k]
        torch.testing.assert_close(maps[n, k], (share[:, None, None] * features[n]).sum(0).relu())
    nothing = ops.ablation_cam(features, torch.zeros(2, 1), torch.ones(2, 1, 4))
    assert (nothing == 0).all()


@pytest.mark.parametrize('combine', ['product', 'mean'])
def test_refine_by_loops(combine):
    maps = [torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    found = ops.refine_maps([ops.scale_maps(one) for one in maps], combine)
    for n, k in np.ndindex(2, 3):
        scaled = [(m[n, k] - m[n, k].min()) / (m[n, k].max() - m[n, k].min()) for m in maps]
        expected = np.prod(scaled, axis=0) if combine == 'product' else np.mean([s.numpy() for s in scaled], axis=0)
        np.testing.assert_allclose(found[n, k], np.asarray(expected), atol=1e-6)
    assert (ops.scale_maps(torch.ones(1, 1, 2, 2)) == 0).all()
    with pytest.raises(ValueError, match='one shape'):
        ops.refine_maps([torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 3)])
    with pytest.raises(ValueError, match="'product' or 'mean'"):
        ops.refine_maps(maps, 'max')


@pytest.mark.parametrize('grid', [None, MapGrid((0, 0), (8, 8), (64, 96))])
def test_the_centre_is_that_of_the_image_whatever_the_grid(grid):
    found = ops.center_map((8, 12), (64, 96), grid)
    rows, columns = (grid or MapGrid.half_pixel((8, 12), (64, 96))).pixels((8, 12))
    expected = np.exp(-((((rows - 31.5) / 16) ** 2)[:, None] + ((columns - 47.5) / 24) ** 2) / 2)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_noise_belongs_to_the_image():
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = [ops.random_map(image, (16, 16)) for image in images]
    assert torch.equal(maps[1], ops.random_map(images[1].clone(), (16, 16)))
    assert len({float(one.sum()) for one in maps}) == 3
    assert torch.stack(maps).mean() == pytest.approx(0.5, abs=0.05)
    assert 0 <= min(one.min() for one in maps) <= max(one.max() for one in maps) < 1
