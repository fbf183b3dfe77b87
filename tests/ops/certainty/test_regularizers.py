# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import math

import pytest
import torch
import torch.nn.functional as F

from mmentropy.ops.certainty.regularizers import (
    confidence_divergence,
    cross_entropy,
    jeffreys_divergence,
    uniform_divergence,
)


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(6, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2


def kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return (p * (p / q).log()).sum(1)


def test_divergences_are_the_kl_sums(logits):
    p = logits.softmax(1)
    u = torch.full_like(p, 1 / 9)
    torch.testing.assert_close(uniform_divergence(logits), kl(u, p))
    torch.testing.assert_close(confidence_divergence(logits), kl(p, u))
    torch.testing.assert_close(jeffreys_divergence(logits), kl(u, p) + kl(p, u))
    for divergence in (uniform_divergence, confidence_divergence, jeffreys_divergence):
        torch.testing.assert_close(divergence(logits, class_reduction='sum'), 9 * divergence(logits))


def test_multi_label_divergences_are_bernoulli_kls(logits):
    p = torch.stack([logits.sigmoid(), 1 - logits.sigmoid()], 1)  # (6, 2, 9)
    half = torch.full_like(p, 0.5)
    torch.testing.assert_close(uniform_divergence(logits, multi_label=True), kl(half, p).mean(1))
    torch.testing.assert_close(confidence_divergence(logits, multi_label=True), kl(p, half).mean(1))


@pytest.mark.parametrize('lambda_', [1e-4, 0.1, 3.0])
def test_regularised_loss_is_label_smoothing(logits, lambda_):
    target = torch.arange(6)
    ours = cross_entropy(logits, target) + lambda_ * uniform_divergence(logits)
    smooth = F.cross_entropy(logits, target, reduction='none', label_smoothing=lambda_ / (1 + lambda_))
    torch.testing.assert_close(ours, (1 + lambda_) * smooth - lambda_ * math.log(9))


def test_confidence_penalty_is_minus_the_entropy_up_to_a_constant(logits):
    p = logits.softmax(1)
    entropy = -(p * p.log()).sum(1)
    torch.testing.assert_close(confidence_divergence(logits), math.log(9) - entropy)


@pytest.mark.parametrize(('reduction', 'expected'), [('mean', 0.0015), ('sum', 0.20)])
def test_lambda_means_different_optima_for_mean_and_sum(reduction, expected):
    """C = 200, λ = 1e-4: the entropy at the optimum of CE + λ·divergence, found by descent on the logit of the label.

    By symmetry all wrong classes share one logit, 0, so the optimum is one-dimensional.
    """
    z = torch.linspace(0, 20, 200_001, dtype=torch.float64)
    log_sum = torch.logaddexp(z, torch.tensor(math.log(199.0), dtype=torch.float64))
    log_right, log_wrong = z - log_sum, -log_sum
    divergence = -(log_right + 199 * log_wrong) / 200 - math.log(200)
    factor = 1e-4 * (200 if reduction == 'sum' else 1)
    best = (-log_right + factor * divergence).argmin()
    logits = torch.zeros(1, 200, dtype=torch.float64)
    logits[0, 3] = z[best]
    ours = cross_entropy(logits, torch.tensor([3])) + 1e-4 * uniform_divergence(logits, class_reduction=reduction)
    torch.testing.assert_close(ours[0], -log_right[best] + factor * divergence[best])
    p = logits.softmax(1)
    assert -(p * p.log()).sum().item() == pytest.approx(expected, rel=0.35)


def test_zero_for_the_uniform_prediction_and_finite_for_extremes():
    z = torch.zeros(1, 5, 2, 2)
    for divergence in (uniform_divergence, confidence_divergence, jeffreys_divergence):
        assert divergence(z).abs().max().item() == pytest.approx(0, abs=1e-6)
        assert torch.isfinite(divergence(torch.tensor([[1e4, -1e4, 0.0]]))).all()


def test_cross_entropy_forms(logits):
    target = torch.tensor([0, 1, 2, 255, 4, 5])
    values = cross_entropy(logits, target, ignore_index=255)
    assert values[3] == 0
    torch.testing.assert_close(values[0], -logits.log_softmax(1)[0, 0])
    soft = torch.full((6, 9), 1 / 9)
    torch.testing.assert_close(cross_entropy(logits, soft), -logits.log_softmax(1).mean(1))
    hot = F.one_hot(torch.arange(6), 9)
    p = logits.sigmoid()
    expected = -(hot * p.log() + (1 - hot) * (1 - p).log()).mean(1)
    torch.testing.assert_close(cross_entropy(logits, hot, multi_label=True), expected)
    mixed = hot * 0.8 + 0.1
    expected = -(mixed * p.log() + (1 - mixed) * (1 - p).log()).mean(1)
    torch.testing.assert_close(cross_entropy(logits, hot, label_smoothing=0.2, multi_label=True), expected)


def test_errors(logits):
    with pytest.raises(ValueError, match='multi_label needs scores'):
        cross_entropy(logits, torch.arange(6), multi_label=True)
    with pytest.raises(ValueError, match='class_reduction must be'):
        uniform_divergence(logits, class_reduction='max')
