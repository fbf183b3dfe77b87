# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""What feature erasers multiply a feature map by: masks read from the map itself, or from a class map."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def self_attention(features: Tensor) -> Tensor:
    r"""Mean over the channels, :math:`A = \frac1D \sum_d f_d`: where the features are strong.

    Args:
        features: (B, D, H, W).

    Returns:
        (B, 1, H, W).

    >>> self_attention(torch.tensor([[[[1.0]], [[3.0]]]]))
    tensor([[[[2.]]]])
    """
    return features.mean(1, keepdim=True)


def adl_drop_mask(attention: Tensor, threshold: float = 0.9) -> Tensor:
    r"""ADL's drop mask, :math:`[A_i < \gamma \max_j A_j]`: 0 at the most discriminative locations, 1 elsewhere.

    Args:
        attention: (B, 1, H, W).
        threshold: γ, a share of each image's own maximum. A map without a positive value is kept whole.

    Returns:
        (B, 1, H, W) of 0 and 1, without gradient.

    Source:
        Choe and Shim, "Attention-based dropout layer" (CVPR 2019).

    >>> adl_drop_mask(torch.tensor([[[[1.0, 0.95, 0.5]]]]))
    tensor([[[[0., 0., 1.]]]])
    """
    attention = attention.detach()
    top = attention.amax((2, 3), keepdim=True)
    return ((attention < threshold * top) | (top <= 0)).to(attention.dtype)


def adl_importance(attention: Tensor) -> Tensor:
    r"""ADL's importance map, :math:`\sigma(A)`; it has a gradient. Shape of ``attention``.

    >>> adl_importance(torch.tensor([[[[0.0]]]]))
    tensor([[[[0.5000]]]])
    """
    return attention.sigmoid()


def rdap_mask(attention: Tensor, size: int | float = 0.25) -> Tensor:
    r"""RDAP's mask: 0 in a square of fixed size around the attention's peak, 1 elsewhere.

    A square of side s around the peak (y, x) covers the rows y − ⌊s/2⌋ to y − ⌊s/2⌋ + s − 1, and the columns alike;
    what lies outside the map is cut off. The first of several equal peaks counts, in the order of reading.

    Args:
        attention: (B, 1, H, W).
        size: side of the square: an int is a number of locations, a float in (0, 1] a share of the map's shorter side
            (rounded, at least one location).

    Returns:
        (B, 1, H, W) of 0 and 1, without gradient.

    Raises:
        ValueError: for a size that is not positive, or a share above 1.

    Source:
        Choe et al., "Region-based dropout with attention prior" (Pattern Recognition 2021). That the square is cut at
        the border, not moved inside, is our choice.

    >>> rdap_mask(torch.tensor([[[[0.0, 1.0, 0.0, 0.0]]]]), size=2)
    tensor([[[[0., 0., 1., 1.]]]])
    """
    if size <= 0 or (isinstance(size, float) and size > 1):
        raise ValueError(f'size is a number of locations (int ≥ 1) or a share in (0, 1] (float), got {size!r}')
    batch, _, height, width = attention.shape
    side = max(1, round(size * min(height, width))) if isinstance(size, float) else size
    peak = attention.detach().flatten(1).argmax(1)
    top = (peak // width - side // 2).view(batch, 1, 1)
    left = (peak % width - side // 2).view(batch, 1, 1)
    rows = torch.arange(height, device=attention.device).view(1, -1, 1)
    columns = torch.arange(width, device=attention.device).view(1, 1, -1)
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return (~inside).unsqueeze(1).to(attention.dtype)


def apply_to_tokens(erase: Callable[[Tensor], Tensor], tokens: Tensor, extra: int = 0) -> Tensor:
    r"""Erase on a transformer's tokens as on the square map that its patches make; the other tokens pass unchanged.

    Args:
        erase: from (B, D, h, w) to the same shape.
        tokens: (B, extra + n, D), the patches last, row by row.
        extra: tokens that are no patches (class, distillation).

    Raises:
        ValueError: if n is no square.

    >>> apply_to_tokens(torch.zeros_like, torch.ones(1, 5, 1), extra=1).flatten()  # a class token, 2 × 2 patches
    tensor([1., 0., 0., 0., 0.])
    """
    patches = tokens[:, extra:].transpose(1, 2)
    side = math.isqrt(patches.shape[2])
    if side * side != patches.shape[2] or side == 0:
        raise ValueError(f'{tokens.shape[1]} tokens less {extra} are no square map; erase on a layer that gives maps')
    erased = erase(patches.unflatten(2, (side, side))).flatten(2).transpose(1, 2)
    return torch.cat([tokens[:, :extra], erased], 1)


def normalized(maps: Tensor) -> Tensor:
    r"""Each map's own range brought to [0, 1]; a constant map becomes zeros. (..., H, W), at least float32.

    >>> normalized(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[0.0000, 0.5000, 1.0000]])
    """
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    low = maps.amin((-2, -1), keepdim=True)
    span = maps.amax((-2, -1), keepdim=True) - low
    return (maps - low) / torch.where(span > 0, span, torch.ones_like(span))


def label_map(maps: Tensor, labels: Tensor) -> Tensor:
    r"""One map in [0, 1] an image: the highest of the normalised maps of its labels.

    Args:
        maps: (B, C, H, W) class maps.
        labels: (B, C) scores; classes above 0 count (a mixed image has two).

    Returns:
        (B, 1, H, W), at least float32.

    >>> maps = torch.tensor([[[[0.0, 4.0]], [[1.0, 0.0]]]])
    >>> label_map(maps, labels=torch.tensor([[1.0, 0.0]]))
    tensor([[[[0., 1.]]]])
    """
    present = (labels > 0)[:, :, None, None]
    return (normalized(maps) * present).amax(1, keepdim=True)


def acol_mask(attention: Tensor, threshold: float = 0.7) -> Tensor:
    r"""ACoL's mask, :math:`[M_i \le \delta]`: 0 where the first classifier's map in [0, 1] is above δ, 1 elsewhere.

    Args:
        attention: (B, 1, H, W) the label's map in [0, 1].
        threshold: δ.

    Returns:
        (B, 1, H, W) of 0 and 1, without gradient.

    Source:
        Zhang et al., "Adversarial complementary learning" (CVPR 2018).

    >>> acol_mask(torch.tensor([[[[0.2, 0.9]]]]), threshold=0.7)
    tensor([[[[1., 0.]]]])
    """
    return (attention.detach() <= threshold).to(attention.dtype)


def fuse_maps(first: Tensor, second: Tensor) -> Tensor:
    r"""ACoL's map, :math:`\max(\hat M^A, \hat M^B)` of the two normalised maps. (..., H, W) in [0, 1].

    >>> fuse_maps(torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[4.0, 0.0, 0.0]]))
    tensor([[1.0000, 0.5000, 1.0000]])
    """
    return torch.maximum(normalized(first), normalized(second))
