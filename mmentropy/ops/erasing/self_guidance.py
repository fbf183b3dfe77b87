# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Self-produced guidance: a network's own attention, where it is sure, teaches its earlier layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def guidance_targets(attention: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    r"""Foreground and background seeds of an attention map.

    :math:`t_i = [M_i > \delta_h]`, and a location counts if :math:`M_i > \delta_h` or :math:`M_i < \delta_l`; between
    the two thresholds nothing is taught.

    Args:
        attention: (B, 1, H, W) in [0, 1].
        low: δ_l.
        high: δ_h, above δ_l.

    Returns:
        target of 0 and 1 and weight of 0 and 1, both (B, 1, H, W), without gradient.

    Raises:
        ValueError: unless 0 ≤ low < high ≤ 1.

    >>> target, weight = guidance_targets(torch.tensor([[[[0.1, 0.5, 0.9]]]]), low=0.2, high=0.8)
    >>> target, weight
    (tensor([[[[0., 0., 1.]]]]), tensor([[[[1., 0., 1.]]]]))
    """
    if not 0 <= low < high <= 1:
        raise ValueError(f'the thresholds need 0 <= low < high <= 1, got low={low} and high={high}')
    attention = attention.detach()
    front, back = attention > high, attention < low
    return front.to(attention.dtype), (front | back).to(attention.dtype)


def guidance_loss(logits: Tensor, attention: Tensor, low: float, high: float) -> Tensor:
    r"""Mean binary cross-entropy of the locations that :func:`guidance_targets` chooses; 0 if it chooses none.

    Args:
        logits: (B, 1, h, w) foreground scores.
        attention: (B, 1, H, W) in [0, 1]; brought to (h, w), bilinear.
        low, high: δ_l and δ_h.

    Returns:
        a scalar, at least float32, nats.

    Source:
        Zhang et al., "Self-produced guidance for weakly-supervised object localization" (ECCV 2018).

    >>> guidance_loss(torch.zeros(1, 1, 1, 3), torch.tensor([[[[0.1, 0.5, 0.9]]]]), low=0.2, high=0.8)  # log 2
    tensor(0.6931)
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    attention = attention.to(logits.dtype)
    if attention.shape[2:] != logits.shape[2:]:
        attention = F.interpolate(attention, size=logits.shape[2:], mode='bilinear', align_corners=False)
    target, weight = guidance_targets(attention, low, high)
    value = F.binary_cross_entropy_with_logits(logits, target, weight, reduction='sum')
    return value / weight.sum().clamp(min=1)
