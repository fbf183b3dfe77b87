# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Divergences between a prediction and the uniform distribution: the regularisers of weakly supervised localisation.

With *u* uniform over C classes, :math:`p = \mathrm{softmax}(z)` and LS(ε) the label-smoothed cross-entropy:

* :math:`CE + \lambda KL(u\|p) = (1+\lambda)\,LS(\lambda/(1+\lambda)) - \lambda\log C`,
* :math:`CE - \lambda H(p) = CE + \lambda KL(p\|u) - \lambda\log C`.

The multi-label forms read every class as a Bernoulli variable with the fair coin as the uniform distribution.
"""

from __future__ import annotations

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from .entropy import binary_entropy, softmax_entropy

Reduction = Literal['mean', 'sum']


def _over_classes(value: Tensor, num_classes: int, class_reduction: Reduction) -> Tensor:
    if class_reduction not in ('mean', 'sum'):
        raise ValueError(f"class_reduction must be 'mean' or 'sum', got {class_reduction!r}")
    return value if class_reduction == 'mean' else value * num_classes


def cross_entropy(
    logits: Tensor, target: Tensor, label_smoothing: float = 0.0, ignore_index: int = -100, multi_label: bool = False
) -> Tensor:
    r"""Cross-entropy of each sample (or pixel), not reduced; binary and averaged over the classes if ``multi_label``.

    Args:
        logits: (N, C) or (N, C, ...).
        target: class indices of the shape of ``logits`` without the classes, or scores of the shape of ``logits``.
        label_smoothing: ε; the target becomes (1 − ε) y + ε u, with the fair coin as u if ``multi_label``.
        ignore_index: class index whose samples give 0.
        multi_label: sigmoids instead of a softmax; the target must then be scores.

    Returns:
        the shape of ``logits`` without dimension 1; nats.

    Raises:
        ValueError: if ``multi_label`` comes with class indices.

    >>> cross_entropy(torch.tensor([[3.0, 1.0]]).log(), torch.tensor([0]))  # p = (3/4, 1/4)
    tensor([0.2877])
    """
    if not multi_label:
        if target.shape == logits.shape:
            target = target.to(logits.dtype)
        return F.cross_entropy(
            logits, target, reduction='none', ignore_index=ignore_index, label_smoothing=label_smoothing
        )
    if target.shape != logits.shape:
        raise ValueError(
            f'multi_label needs scores of the shape {tuple(logits.shape)} as target, got {tuple(target.shape)}; '
            'give gt_score (multi-hot) instead of gt_label'
        )
    target = target.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, target, reduction='none').mean(1)


def uniform_divergence(
    logits: Tensor, dim: int = 1, class_reduction: Reduction = 'mean', multi_label: bool = False
) -> Tensor:
    r"""Divergence of the uniform distribution from the prediction, :math:`KL(u\|p) = -\log C - \frac1C\sum_k\log p_k`.

    Minimising it keeps the entropy from falling too low: the entropy regularisation of WSOL (2023). Its source does not
    say whether classes are averaged or summed, and that decides what λ means: ``sum`` is C times ``mean``.

    Args:
        logits: scores of any shape.
        dim: the dimension of the classes.
        class_reduction: ``mean`` is KL(u‖p) itself; ``sum`` is C · KL(u‖p).
        multi_label: mean over the classes of KL(½‖σ(z)) = −log 2 − ½(log σ(z) + log σ(−z)).

    Returns:
        the shape of ``logits`` without ``dim``; nats, ≥ 0.

    >>> uniform_divergence(torch.tensor([[3.0, 1.0]]).log())  # p = (3/4, 1/4)
    tensor([0.1438])
    """
    num_classes = logits.shape[dim]
    if multi_label:
        value = 0.5 * (F.softplus(logits) + F.softplus(-logits)).mean(dim) - math.log(2)
    else:
        value = -logits.log_softmax(dim).mean(dim) - math.log(num_classes)
    return _over_classes(value, num_classes, class_reduction)


def confidence_divergence(
    logits: Tensor, dim: int = 1, class_reduction: Reduction = 'mean', multi_label: bool = False
) -> Tensor:
    r"""Divergence of the prediction from the uniform distribution, :math:`KL(p\|u) = \log C - H(p)`.

    The confidence penalty (Pereyra et al., 2017) up to the constant λ log C. Arguments and shapes as in
    :func:`uniform_divergence`; ``mean`` is KL(p‖u) itself, and in the multi-label form the mean over the classes of
    log 2 − h(z).

    >>> confidence_divergence(torch.tensor([[3.0, 1.0]]).log())  # p = (3/4, 1/4)
    tensor([0.1308])
    """
    num_classes = logits.shape[dim]
    if multi_label:
        value = math.log(2) - binary_entropy(logits).mean(dim)
    else:
        value = math.log(num_classes) - softmax_entropy(logits, dim)
    return _over_classes(value, num_classes, class_reduction)


def jeffreys_divergence(
    logits: Tensor, dim: int = 1, class_reduction: Reduction = 'mean', multi_label: bool = False
) -> Tensor:
    r"""Jeffreys' symmetric divergence :math:`KL(u\|p) + KL(p\|u)`; arguments as in :func:`uniform_divergence`.

    >>> jeffreys_divergence(torch.tensor([[3.0, 1.0]]).log())  # p = (3/4, 1/4)
    tensor([0.2747])
    """
    options = (dim, class_reduction, multi_label)
    return uniform_divergence(logits, *options) + confidence_divergence(logits, *options)
