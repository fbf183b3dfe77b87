# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Object, background and unsure: shares of every location, what each region looks like, and what it must not say.

A softmax over three scores gives each location its shares :math:`m^o_i + m^b_i + m^u_i = 1`. The classifier reads the
mean of the object, :math:`f^o = \sum_i m^o_i f_i / \sum_i m^o_i`; the mean of the background must not predict the
class. The third region takes what belongs to neither, so that no location is forced.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: The regions, in the order of their channels.
REGIONS = ('object', 'background', 'unsure')


def region_shares(scores: Tensor) -> Tensor:
    r"""Shares of the regions at each location, :math:`m^r_i = e^{s^r_i} / \sum_q e^{s^q_i}`.

    Args:
        scores: (B, 3, H, W), in the order of :data:`REGIONS`.

    Returns:
        (B, 3, H, W), summing to one over the regions; float64 for float64 scores, else float32.

    Raises:
        ValueError: for another number of regions.

    Source:
        The three regions of TriLite (CVPR 2026), from its description.

    >>> region_shares(torch.zeros(1, 3, 1, 1)).flatten()
    tensor([0.3333, 0.3333, 0.3333])
    """
    if scores.ndim != 4 or scores.shape[1] != len(REGIONS):
        raise ValueError(f'scores of regions must be (B, {len(REGIONS)}, H, W), got {tuple(scores.shape)}')
    return scores.to(torch.promote_types(scores.dtype, torch.float32)).softmax(dim=1)


def region_mean(features: Tensor, share: Tensor, eps: float = 1e-6) -> Tensor:
    r"""What a region looks like, :math:`\sum_i m_i f_i / (\sum_i m_i + \varepsilon)`.

    Args:
        features: (B, D, H, W).
        share: (B, H, W) ≥ 0.
        eps: keeps the mean of an empty region defined (zero), in locations.

    Returns:
        (B, D) in the type of the features.

    >>> region_mean(torch.tensor([[[[4.0, 8.0]]]]), torch.tensor([[[0.5, 0.0]]])).item()
    3.9999...
    """
    flat = share.flatten(1)
    weights = flat / (flat.sum(1, keepdim=True) + eps)
    return torch.bmm(features.flatten(2), weights.to(features.dtype).unsqueeze(2)).squeeze(2)


def absence_loss(logits: Tensor, labels: Tensor) -> Tensor:
    r"""How strongly a class is seen where it must not be, :math:`-\log(1 - p_y)`, in nats.

    With labels (B,) *p* is a softmax, and :math:`-\log(1 - p_y) = \mathrm{softplus}(z_y - \log\sum_{c \ne y} e^{z_c})`;
    with multi-hot labels (B, C) it is a sigmoid, :math:`\mathrm{softplus}(z_y)`, averaged over an image's classes.

    Args:
        logits: (B, C) of the background.
        labels: (B,) long, or (B, C) multi-hot.

    Returns:
        (B,): zero where the class is not seen at all, unbounded where it is certain.

    >>> absence_loss(torch.zeros(1, 2), torch.tensor([0])), absence_loss(torch.zeros(1, 2), torch.tensor([[1.0, 1.0]]))
    (tensor([0.6931]), tensor([0.6931]))
    """
    if labels.ndim == 1:
        own = F.one_hot(labels, logits.shape[1]).bool()
        others = logits.masked_fill(own, float('-inf')).logsumexp(1)
        return F.softplus(logits.gather(1, labels[:, None])[:, 0] - others)
    present = labels > 0
    return (F.softplus(logits) * present).sum(1) / present.sum(1).clamp(min=1)


def background_entropy_loss(logits: Tensor) -> Tensor:
    r"""How far a prediction is from knowing nothing, :math:`KL(u \| p) = -\frac1C \sum_c \log p_c - \log C`, in nats.

    The other way to keep the class out of the background: uniform targets, as in min-max entropy.

    Args:
        logits: (B, C).

    Returns:
        (B,), ≥ 0, zero for equal logits.

    >>> background_entropy_loss(torch.zeros(1, 5)).abs().item() < 1e-6
    True
    """
    count = logits.shape[1]
    return -logits.log_softmax(1).mean(1) - torch.log(torch.tensor(float(count), device=logits.device)).to(logits)
