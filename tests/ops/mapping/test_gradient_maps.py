# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Each method against its formula written as loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmentropy.ops.mapping import gradient_maps as ops

N, K, D, H, W = 2, 3, 4, 3, 5


def alpha_grad_cam(f, g):
    return g.mean()


def alpha_plus_plus(f, g):
    total, out = f.sum(), 0.0
    for slope in g.flat:
        if slope > 0:
            out += slope**2 / (2 * slope**2 + slope**3 * total) * slope
    return out


def alpha_xgrad(f, g):
    return sum(a * b for a, b in zip(f.flat, g.flat)) / f.sum()


LOOPS = {ops.grad_cam: alpha_grad_cam, ops.grad_cam_plus_plus: alpha_plus_plus, ops.xgrad_cam: alpha_xgrad}


def inputs(constant: bool) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(N, D, H, W, generator=generator, dtype=torch.float64)
    shape = (N, K, D, 1, 1) if constant else (N, K, D, H, W)
    return features, torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize('constant', [True, False])
@pytest.mark.parametrize('method', [*LOOPS, ops.layer_cam])
def test_method_equals_its_formula(method, constant):
    features, gradients = inputs(constant)
    full = gradients.expand(N, K, D, H, W).numpy()
    expected = np.zeros((N, K, H, W))
    for n, k in np.ndindex(N, K):
        for d in range(D):
            f, g = features[n, d].numpy(), full[n, k, d]
            weight = np.maximum(g, 0) if method is ops.layer_cam else LOOPS[method](f, g)
            expected[n, k] += weight * f
    np.testing.assert_allclose(method(features, gradients), np.maximum(expected, 0), rtol=1e-6, atol=1e-9)


def test_vanishing_gradients_and_empty_channels_give_zeros_not_nan():
    features = torch.zeros(1, 2, 2, 2)
    features[0, 1] = 1
    for gradients in (torch.zeros(1, 1, 2, 2, 2), torch.tensor([[[1.0, 0.0]]])[..., None, None]):
        for method in (*LOOPS, ops.layer_cam):
            assert (method(features, gradients) == 0).all()


def test_score_cam_by_hand():
    features = torch.tensor([[[[1.0, -2.0]], [[3.0, 1.0]]]])
    scores = torch.tensor([[[0.0, np.log(3.0)]]])  # softmax: 1/4, 3/4
    torch.testing.assert_close(ops.score_cam(features, scores), torch.tensor([[[[2.5, 0.25]]]]))
    masks = ops.channel_masks(features[0], (1, 4))
    torch.testing.assert_close(masks[0], torch.tensor([[1.0, 0.75, 0.25, 0.0]]))
    assert (ops.channel_masks(torch.ones(1, 2, 2), (4, 4)) == 0).all()


def test_refuses_gradients_of_another_shape():
    with pytest.raises(ValueError, match='N, K, D'):
        ops.grad_cam(torch.rand(2, 4, 3, 5), torch.rand(2, 1, 4, 5, 3))
    with pytest.raises(ValueError, match='N, K, D'):
        ops.layer_cam(torch.rand(2, 4, 3, 5), torch.rand(1, 1, 4, 1, 1))
