# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import math

import pytest
import torch
from torch.autograd import gradcheck

from mmentropy.ops.certainty.three_regions import absence_loss, background_entropy_loss, region_mean, region_shares


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_shares_sum_to_one_and_follow_their_formula(generator):
    scores = 20 * torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    shares = region_shares(scores)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 4, 5, dtype=torch.float64))
    odds = (scores[:, 0] - scores[:, 1]).exp()
    torch.testing.assert_close(shares[:, 0], shares[:, 1] * odds)
    assert region_shares(scores.half()).dtype == torch.float32
    with pytest.raises(ValueError, match=r'must be \(B, 3, H, W\), got \(2, 2, 4, 5\)'):
        region_shares(scores[:, :2])


def test_mean_of_a_region_by_a_loop(generator):
    features = torch.randn(2, 4, 3, 5, generator=generator, dtype=torch.float64)
    share = torch.rand(2, 3, 5, generator=generator, dtype=torch.float64)
    for image, weights, mean in zip(features, share, region_mean(features, share, eps=0)):
        expected = sum(weights[i, j] * image[:, i, j] for i in range(3) for j in range(5)) / weights.sum()
        torch.testing.assert_close(mean, expected)
    torch.testing.assert_close(region_mean(features, torch.ones_like(share), eps=0), features.mean((2, 3)))
    assert not region_mean(features, torch.zeros_like(share)).any()


def test_absence_is_the_logarithm_of_what_is_left(generator):
    logits = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    p = logits.softmax(1)[torch.arange(6), labels]
    torch.testing.assert_close(absence_loss(logits, labels), -(1 - p).log())
    hot = torch.tensor([[1.0, 0, 0, 1, 0]] * 6, dtype=torch.float64)
    sigma = logits.sigmoid()
    torch.testing.assert_close(absence_loss(logits, hot), -((1 - sigma[:, 0]).log() + (1 - sigma[:, 3]).log()) / 2)
    assert not absence_loss(logits, torch.zeros_like(hot)).any()


def test_absence_stays_finite_where_the_formula_does_not():
    """In float32 1 − softmax(200, 0) is zero, and its logarithm minus infinity."""
    loss = absence_loss(torch.tensor([[200.0, 0.0, 0.0]]), torch.tensor([0]))
    torch.testing.assert_close(loss, torch.tensor([200.0 - math.log(2)]))


def test_uniform_targets_are_a_divergence(generator):
    logits = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    p = logits.softmax(1)
    expected = (0.25 * (0.25 / p).log()).sum(1)
    torch.testing.assert_close(background_entropy_loss(logits), expected)


def test_gradients(generator):
    features = torch.randn(2, 3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    scores = torch.randn(2, 3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2])
    hot = torch.tensor([[1.0, 0, 1], [0, 1, 0]], dtype=torch.float64)

    def loss(f, s, target):
        return absence_loss(region_mean(f, region_shares(s)[:, 1]), target)

    assert gradcheck(lambda f, s: loss(f, s, labels), (features, scores))
    assert gradcheck(lambda f, s: loss(f, s, hot), (features, scores))
    assert gradcheck(lambda f: background_entropy_loss(f.mean((2, 3))), (features,))
