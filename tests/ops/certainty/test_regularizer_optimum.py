# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import math

import pytest
import torch
import torch.nn.functional as F

from mmentropy.ops.certainty.entropy import softmax_entropy
from mmentropy.ops.certainty.regularizer_optimum import optimal_entropy
from mmentropy.ops.certainty.regularizers import confidence_divergence, jeffreys_divergence, uniform_divergence

DIVERGENCES = {
    'uniform': uniform_divergence,
    'confidence': confidence_divergence,
    'jeffreys': jeffreys_divergence,
}


def test_the_figures_that_decide_what_lambda_means():
    assert optimal_entropy(1e-4, 200, class_reduction='mean') == pytest.approx(0.0015, abs=5e-5)
    assert optimal_entropy(1e-4, 200, class_reduction='sum') == pytest.approx(0.20, abs=5e-3)


@pytest.mark.parametrize('name', DIVERGENCES)
@pytest.mark.parametrize('lambda_', [0.05, 0.5, 5.0])
@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_against_minimising_the_loss_itself(name, lambda_, reduction):
    torch.manual_seed(0)
    logits = torch.randn(1, 6, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=300, tolerance_grad=1e-12, line_search_fn='strong_wolfe')

    def closure():
        optimizer.zero_grad()
        penalty = DIVERGENCES[name](logits, class_reduction=reduction).sum()
        loss = F.cross_entropy(logits, torch.tensor([2])) + lambda_ * penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    expected = softmax_entropy(logits.detach()).item()
    assert optimal_entropy(lambda_, 6, name, reduction) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_no_regulariser_is_certainty_and_an_endless_one_is_uniform():
    for name in DIVERGENCES:
        assert optimal_entropy(0, 10, name) == 0
        assert optimal_entropy(1e7, 10, name) == pytest.approx(math.log(10), rel=1e-3)
        values = [optimal_entropy(lambda_, 10, name) for lambda_ in (1e-6, 1e-3, 0.1, 1, 10)]
        assert values == sorted(values)


@pytest.mark.parametrize(
    'options', [dict(lambda_=-1), dict(num_classes=1), dict(regularizer='js'), dict(class_reduction='max')]
)
def test_bad_options(options):
    with pytest.raises(ValueError, match='must be'):
        optimal_entropy(**{'lambda_': 0.1, 'num_classes': 5, **options})
