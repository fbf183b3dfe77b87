# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Pooling of locations: maximum, log-sum-exp, and the mean that a location's own probability weights.

Each takes maps of any kind over the last two axes: features (B, D, H, W), or class scores (B, C, H, W).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def global_max_pool(maps: Tensor) -> Tensor:
    r"""The highest location of each map, :math:`\max_i x_i` (Oquab et al., CVPR 2015).

    Args:
        maps: (..., H, W).

    Returns:
        (...), in the type of the maps.

    >>> global_max_pool(torch.tensor([[[1.0, 3.0]]]))
    tensor([3.])
    """
    return maps.flatten(-2).amax(-1)


def lse_pool(maps: Tensor, r: float) -> Tensor:
    r"""Log-sum-exp pooling, :math:`m + \frac1r \log \frac1n \sum_i e^{r (x_i - m)}` with :math:`m = \max_i x_i`.

    Monotone in r: r → 0 is the mean, r → ∞ the maximum; both limits are taken exactly at 0 and infinity. Written as
    :math:`\frac1r \log(1 + \frac1n \sum_i (e^{r (x_i - m)} - 1))`, which loses no digits for small r.

    Args:
        maps: (..., H, W).
        r: sharpness, ≥ 0, in one over the unit of the maps.

    Returns:
        (...): float64 for float64 maps, else float32 (half precision has too few digits for the sum).

    Raises:
        ValueError: for a negative r.

    Source:
        Pinheiro and Collobert, "From image-level to pixel-level labeling" (CVPR 2015).

    >>> maps = torch.tensor([[0.0, 2.0]])
    >>> lse_pool(maps, 0.0), lse_pool(maps, 1.0), lse_pool(maps, float('inf'))  # mean … maximum
    (tensor(1.), tensor(1.4338), tensor(2.))
    """
    if not r >= 0:
        raise ValueError(f'the sharpness r of log-sum-exp pooling must be at least 0, got {r}')
    x = maps.flatten(-2)
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if r == 0:
        return x.mean(-1)
    top = x.amax(-1)
    if math.isinf(r):
        return top
    return top + torch.log1p(torch.expm1(r * (x - top.unsqueeze(-1))).mean(-1)) / r


def pcam_weights(scores: Tensor) -> Tensor:
    r"""Weights of the locations by their own probability, :math:`w_i = \sigma(z_i) / \sum_j \sigma(z_j)`.

    Computed as the softmax over the locations of :math:`\log \sigma(z_i)`, so very low scores everywhere give finite
    weights.

    Args:
        scores: (..., H, W) location scores, one map a class.

    Returns:
        (..., H, W) non-negative weights that sum to one over the last two axes; at least float32.

    >>> pcam_weights(torch.tensor([[1.0, 3.0]]).log())  # probabilities 1/2 and 3/4
    tensor([[0.4000, 0.6000]])
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return F.logsigmoid(scores.flatten(-2)).softmax(-1).view(scores.shape)


def pcam_pool(scores: Tensor) -> Tensor:
    r"""Probabilistic-CAM pooling, :math:`s_c = \sum_i w_{ic} z_{ic}` with the weights of :func:`pcam_weights`.

    Since the weights of a class sum to one, this is the linear classifier on the features that the class pools for
    itself, :math:`w_c \cdot \sum_i w_{ic} f_i + b_c`.

    Args:
        scores: (..., H, W) location scores, one map a class.

    Returns:
        (...), at least float32.

    Source:
        Ye et al., "Weakly supervised lesion localization with probabilistic-CAM pooling" (2020).

    >>> pcam_pool(torch.tensor([[1.0, 3.0]]).log())  # 0.4 · 0 + 0.6 · log 3
    tensor(0.6592)
    """
    weights = pcam_weights(scores)
    return (weights * scores.to(weights.dtype)).sum((-2, -1))


def attention_weights(features: Tensor, project: Tensor, score: Tensor, gate: Tensor | None = None) -> Tensor:
    r"""Learned weights of the locations, :math:`a_i = \mathrm{softmax}_i\, w^\top \tanh(V f_i)`: deep MIL.

    With a gate U: :math:`w^\top (\tanh(V f_i) \odot \sigma(U f_i))`.

    Args:
        features: (B, D, H, W), a location an instance of the bag.
        project: (L, D), V.
        score: (L,), w.
        gate: (L, D), U; None is without.

    Returns:
        (B, H, W) non-negative weights that sum to one over the locations; at least float32.

    Source:
        Ilse, Tomczak and Welling, "Attention-based deep multiple instance learning" (ICML 2018).

    >>> attention_weights(torch.tensor([[[[0.0, 100.0]]]]), torch.ones(1, 1), torch.tensor([3.0]).log())  # 1 to 3
    tensor([[[0.2500, 0.7500]]])
    """
    hidden = torch.tanh(torch.einsum('ld,bdhw->blhw', project, features))
    if gate is not None:
        hidden = hidden * torch.sigmoid(torch.einsum('ld,bdhw->blhw', gate, features))
    logits = torch.einsum('l,blhw->bhw', score, hidden)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits.flatten(1).softmax(1).view(logits.shape)
