# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""How uncertain a regulariser wants a prediction to be: the entropy that minimises CE + λ R for one label.

By symmetry the optimum gives every wrong class the same probability, so it is one number q = p_y away.
"""

from __future__ import annotations

import math
from typing import Literal

from scipy.optimize import minimize_scalar

from .regularizers import Reduction

Regularizer = Literal['uniform', 'confidence', 'jeffreys']
REGULARIZERS = ('uniform', 'confidence', 'jeffreys')


def optimal_entropy(
    lambda_: float, num_classes: int, regularizer: Regularizer = 'uniform', class_reduction: Reduction = 'mean'
) -> float:
    r"""Entropy in nats of the prediction that minimises :math:`-\log p_y + \lambda R(p)`.

    For :math:`R = KL(u\|p)` the optimum is the smoothed label, :math:`p = (1-\varepsilon) e_y + \varepsilon u` with
    :math:`\varepsilon = \lambda / (1 + \lambda)`; for the others it is found numerically. ``sum`` puts Cλ in
    the place of λ: with C = 200 and λ = 10⁻⁴, 0.0015 nats become 0.20.

    Args:
        lambda_: λ ≥ 0.
        num_classes: C ≥ 2.
        regularizer: ``uniform`` KL(u‖p), ``confidence`` KL(p‖u), ``jeffreys`` their sum.
        class_reduction: ``mean`` or ``sum`` over the classes.

    Returns:
        nats. Found numerically, values below 1e-12 are zero to the precision of the loss itself.

    Raises:
        ValueError: for an unknown regulariser or reduction, a negative λ or fewer than two classes.

    >>> round(optimal_entropy(1.0, num_classes=2), 4)  # p = (3/4, 1/4)
    0.5623
    """
    if regularizer not in REGULARIZERS:
        raise ValueError(f'regularizer must be one of {REGULARIZERS}, got {regularizer!r}')
    if class_reduction not in ('mean', 'sum'):
        raise ValueError(f"class_reduction must be 'mean' or 'sum', got {class_reduction!r}")
    if lambda_ < 0 or num_classes < 2:
        raise ValueError(f'lambda_ must be at least 0 and num_classes at least 2, got {lambda_} and {num_classes}')
    others = num_classes - 1
    weight = lambda_ * num_classes if class_reduction == 'sum' else lambda_
    if weight == 0:
        return 0.0
    if regularizer == 'uniform':
        wrong = weight / (1 + weight) / num_classes
        return _entropy(1 - others * wrong, wrong, others)

    def objective(log_odds: float) -> float:
        # of all wrong classes together against the right one; softplus keeps both logarithms exact
        log_right, log_wrong = -_softplus(log_odds), -_softplus(-log_odds) - math.log(others)
        right, wrong = math.exp(log_right), math.exp(log_wrong)
        entropy = -right * log_right - others * wrong * log_wrong
        penalty = math.log(num_classes) - entropy
        if regularizer == 'jeffreys':
            penalty += -math.log(num_classes) - (log_right + others * log_wrong) / num_classes
        return -log_right + weight * penalty

    # From no error at all to the uniform prediction, which no λ goes beyond.
    best = minimize_scalar(objective, bounds=(-60, math.log(others)), method='bounded', options={'xatol': 1e-9}).x
    return _entropy(math.exp(-_softplus(best)), math.exp(-_softplus(-best)) / others, others)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _entropy(right: float, wrong: float, others: int) -> float:
    return -right * math.log(right) - (others * wrong * math.log(wrong) if wrong else 0.0)
