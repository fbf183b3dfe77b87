# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020): local averaging with weights from colour."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def shifted(maps: Tensor, dy: int, dx: int, border: str = 'replicate') -> Tensor:
    """The map seen from each location at offset (dy, dx): out[…, y, x] = maps[…, y + dy, x + dx].

    Args:
        maps: (…, H, W).
        dy, dx: offset in locations; may exceed the map.
        border: what lies outside, ``replicate`` the nearest location or ``zero``.

    Returns:
        Of the same shape and type.

    >>> shifted(torch.tensor([[1, 2, 3]]), dy=0, dx=1), shifted(torch.tensor([[1, 2, 3]]), dy=0, dx=1, border='zero')
    (tensor([[2, 3, 3]]), tensor([[2, 3, 0]]))
    """
    h, w = maps.shape[-2:]
    rows = torch.arange(h, device=maps.device) + dy
    cols = torch.arange(w, device=maps.device) + dx
    out = maps.index_select(-2, rows.clamp(0, h - 1)).index_select(-1, cols.clamp(0, w - 1))
    if border == 'zero':
        out = out * ((rows >= 0) & (rows < h))[:, None] * ((cols >= 0) & (cols < w))
    return out


def ring_offsets(dilations: Sequence[int]) -> list[tuple[int, int]]:
    """The eight neighbours of a 3 × 3 window at each dilation, as (dy, dx).

    >>> ring_offsets([2])[:3], len(ring_offsets([1, 2]))
    ([(-2, -2), (-2, 0), (-2, 2)], 16)
    """
    ring = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
    return [(d * y, d * x) for d in dilations for y, x in ring]


def pixel_affinity(image: Tensor, offsets: Sequence[tuple[int, int]], sharpness: float = 0.1) -> Tensor:
    r"""Weights of each pixel's neighbours, :math:`\alpha_{in} = \mathrm{softmax}_n\, \bar k(i, n)` with

    .. math:: k(i, n) = -\frac{|I_i - I_n|}{\epsilon + s\,\sigma_i},

    :math:`\bar k` the mean over channels, :math:`\sigma_i` the standard deviation (unbiased) over the neighbours and
    pixel i.

    Args:
        image: (B, C, H, W), any scale: k does not change with it.
        offsets: neighbours (dy, dx).
        sharpness: s; smaller follows colour edges more closely.

    Returns:
        (B, N, H, W), summing to 1 over the N neighbours.

    >>> pixel_affinity(torch.zeros(1, 3, 4, 4), ring_offsets([1]))[0, :, 0, 0]  # one colour: eight equal neighbours
    tensor([0.1250, 0.1250, 0.1250, 0.1250, 0.1250, 0.1250, 0.1250, 0.1250])
    """
    around = torch.stack([shifted(image, dy, dx) for dy, dx in offsets], dim=1)
    spread = torch.cat([around, image[:, None]], dim=1).std(dim=1, keepdim=True)
    kernel = -(around - image[:, None]).abs() / (1e-8 + sharpness * spread)
    return kernel.mean(dim=2).softmax(dim=1)


def pixel_adaptive_refinement(
    scores: Tensor,
    image: Tensor,
    dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
    iterations: int = 10,
    sharpness: float = 0.1,
) -> Tensor:
    r"""Repeat :math:`m_i \leftarrow \sum_n \alpha_{in}\, m_n`, the weights :math:`\alpha` from the image.

    Args:
        scores: (B, K, H, W) class scores or probabilities; sums over K are kept.
        image: (B, C, H, W) of the same size.
        dilations: of the 3 × 3 windows, in pixels.
        iterations: number of passes; 0 returns the scores.
        sharpness: see :func:`pixel_affinity`.

    Returns:
        (B, K, H, W), on the scores' device.

    Raises:
        ValueError: if scores and image differ in size.

    >>> scores, image = torch.tensor([[[[0.0, 8.0, 0.0]]]]), torch.zeros(1, 3, 1, 3)
    >>> pixel_adaptive_refinement(scores, image, dilations=(1,), iterations=1)  # the mean of eight neighbours
    tensor([[[[3., 2., 3.]]]])
    """
    if scores.shape[-2:] != image.shape[-2:] or len(scores) != len(image):
        raise ValueError(
            f'scores {tuple(scores.shape)} and image {tuple(image.shape)} must share batch and size; resize one of them'
        )
    offsets = ring_offsets(dilations)
    weights = pixel_affinity(image.to(scores.dtype), offsets, sharpness)
    reach = max(dilations)
    h, w = scores.shape[-2:]
    for _ in range(iterations):
        padded = F.pad(scores, (reach,) * 4, mode='replicate')
        scores = torch.zeros_like(scores)
        for n, (dy, dx) in enumerate(offsets):
            scores += weights[:, n, None] * padded[..., reach + dy : reach + dy + h, reach + dx : reach + dx + w]
    return scores
