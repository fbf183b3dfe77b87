# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import math

import pytest
import torch
from torch.autograd import gradcheck

from mmentropy.ops.certainty.pooling import global_max_pool, lse_pool, pcam_pool, pcam_weights
from mmentropy.ops.certainty.wildcat import wildcat_pool


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_max_by_sorting(maps):
    assert torch.equal(global_max_pool(maps), maps.flatten(2).sort(-1).values[..., -1])


def test_lse_by_its_formula(maps):
    for r in (0.3, 1.0, 7.0):
        expected = (maps * r).exp().mean((2, 3)).log() / r
        torch.testing.assert_close(lse_pool(maps, r), expected)


def test_lse_limits_and_monotony(maps):
    assert torch.equal(lse_pool(maps, 0), maps.flatten(2).mean(-1))
    assert torch.equal(lse_pool(maps, math.inf), maps.amax((2, 3)))
    torch.testing.assert_close(lse_pool(maps, 1e-6), maps.mean((2, 3)), rtol=0, atol=1e-5)
    # max − log(n)/r ≤ LSE ≤ max
    torch.testing.assert_close(lse_pool(maps, 1e6), maps.amax((2, 3)), rtol=0, atol=1.01 * math.log(20) / 1e6)
    values = torch.stack([lse_pool(maps, r) for r in (0, 0.1, 1, 10, 100, math.inf)])
    assert (values.diff(dim=0) > 0).all()


def test_lse_keeps_its_digits_in_single_precision(maps):
    """The naive form (log-sum-exp − log n)/r is off by 1e-7/r; at r = 1e-5 nothing would be right."""
    small = lse_pool(maps.float(), 1e-5)
    torch.testing.assert_close(small.double(), lse_pool(maps, 1e-5), rtol=0, atol=1e-6)
    huge = lse_pool(maps.float() * 1e4, 5.0)
    assert torch.isfinite(huge).all()
    torch.testing.assert_close(huge.double(), maps.amax((2, 3)) * 1e4, rtol=1e-5, atol=1.0)
    with pytest.raises(ValueError, match='at least 0'):
        lse_pool(maps, -1)


def test_pcam_by_hand():
    scores = torch.tensor([[[0.0, math.log(3)]]], dtype=torch.float64)  # σ = 1/2 and 3/4
    torch.testing.assert_close(pcam_weights(scores), torch.tensor([[[0.4, 0.6]]], dtype=torch.float64))
    torch.testing.assert_close(pcam_pool(scores), torch.tensor([0.6 * math.log(3)], dtype=torch.float64))


def test_pcam_is_the_classifier_on_class_wise_features(maps):
    weight, bias = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    z = torch.einsum('cd,bdhw->bchw', weight, maps) + bias.view(1, -1, 1, 1)
    sigma = 1 / (1 + (-z).exp())
    share = sigma / sigma.sum((2, 3), keepdim=True)
    features = torch.einsum('bchw,bdhw->bcd', share, maps)
    torch.testing.assert_close(pcam_pool(z), (features * weight).sum(-1) + bias)


def test_pcam_without_any_probability_is_finite():
    z = torch.full((1, 1, 2, 2), -300.0)
    z[0, 0, 0, 0] = -200.0
    torch.testing.assert_close(pcam_pool(z), torch.tensor([[-200.0]]))
    torch.testing.assert_close(pcam_weights(torch.full((1, 1, 2, 2), -500.0)), torch.full((1, 1, 2, 2), 0.25))


@pytest.mark.parametrize('pool', [lambda x: lse_pool(x, 2.0), pcam_pool], ids=['lse', 'pcam'])
def test_gradients(pool, maps):
    assert gradcheck(pool, maps[:1].clone().requires_grad_())


def test_wildcat_of_everything_is_the_mean(maps):
    torch.testing.assert_close(wildcat_pool(maps, kmax=1.0, kmin=0, alpha=0.0), maps.mean((2, 3)))


@pytest.mark.parametrize('pool', [global_max_pool, lambda x: lse_pool(x, 3.0), pcam_pool, wildcat_pool])
def test_order_of_the_locations_does_not_matter(pool, maps):
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(pool(maps.flatten(2)[..., order].view_as(maps)), pool(maps))
