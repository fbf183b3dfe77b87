# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""How alike two maps are, and whether a map agrees with a box or a mask."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

#: SSIM's window, and its two constants for values in [0, 1] (Wang et al., TIP 2004).
SSIM_WINDOW, SSIM_C1, SSIM_C2 = 7, 0.01**2, 0.03**2


def pearson(one: Tensor, other: Tensor) -> Tensor:
    """Linear correlation of each pair of maps; 0 where one of them is constant.

    Args:
        one, other: (N, H, W).

    Returns:
        (N,) in [-1, 1].

    >>> pearson(torch.tensor([[[0.0, 1.0, 2.0]]]), torch.tensor([[[0.0, 5.0, 10.0]]]))
    tensor([1.])
    """
    one, other = (maps.flatten(1).double() for maps in (one, other))
    one, other = (maps - maps.mean(1, keepdim=True) for maps in (one, other))
    size = one.norm(dim=1) * other.norm(dim=1)
    found = (one * other).sum(1) / torch.where(size > 0, size, 1)
    return found.clamp(-1, 1).float()


def mean_ranks(maps: Tensor) -> Tensor:
    """The rank of each pixel among those of its map, smallest first; equal values share the mean of their ranks.

    Args:
        maps: (N, H, W).

    Returns:
        (N, H, W) float64, from 0.

    >>> mean_ranks(torch.tensor([[[3.0, 1.0, 3.0]]]))
    tensor([[[1.5000, 0.0000, 1.5000]]], dtype=torch.float64)
    """
    values = maps.flatten(1).contiguous()
    ordered = values.sort(1).values
    below = torch.searchsorted(ordered, values)
    to = torch.searchsorted(ordered, values, right=True)
    return ((below + to - 1).double() / 2).view(maps.shape)


def spearman(one: Tensor, other: Tensor) -> Tensor:
    """Rank correlation of each pair of maps, ties at their mean rank; 0 where one of them is constant.

    >>> spearman(torch.tensor([[[0.0, 1.0, 2.0]]]), torch.tensor([[[0.0, 1.0, 99.0]]]))
    tensor([1.])
    """
    return pearson(mean_ranks(one), mean_ranks(other))


def ssim(one: Tensor, other: Tensor) -> Tensor:
    r"""Structural similarity of maps in [0, 1], the mean over windows of 7×7 pixels inside the map.

    .. math:: \frac{(2 \mu_a \mu_b + C_1)(2 \sigma_{ab} + C_2)}
        {(\mu_a^2 + \mu_b^2 + C_1)(\sigma_a^2 + \sigma_b^2 + C_2)}

    Args:
        one, other: (N, H, W); smaller maps than the window are one window.

    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity" (TIP 2004), with a
    flat window and unbiased variances, as scikit-image has it.

    >>> maps = torch.rand(1, 9, 9)
    >>> ssim(maps, maps).round(decimals=4)
    tensor([1.])
    """
    window = min(SSIM_WINDOW, *one.shape[1:])
    one, other = (maps[:, None].double() for maps in (one, other))
    stack = torch.cat([one, other, one * one, other * other, one * other], 1)
    a, b, aa, bb, ab = F.avg_pool2d(stack, window, stride=1).unbind(1)
    unbiased = window**2 / max(window**2 - 1, 1)
    spread, common = (aa - a * a + bb - b * b) * unbiased, (ab - a * b) * unbiased
    similar = (2 * a * b + SSIM_C1) * (2 * common + SSIM_C2) / ((a * a + b * b + SSIM_C1) * (spread + SSIM_C2))
    return similar.flatten(1).mean(1).float()


def pointing_hit(
    cam: np.ndarray, boxes: np.ndarray | None = None, mask: np.ndarray | None = None, tolerance: float = 0
) -> bool:
    """The pointing game: whether the maximum falls on the object, or at most ``tolerance`` pixels from it.

    Args:
        cam: (H, W) map at the size of the image; the first of several maxima in the order of reading counts.
        boxes: (n, 4) x0 y0 x1 y1 in pixels of the image, edges; the pixel's centre has to lie in one of them.
        mask: (H, W) object pixels; where there are both, the mask is taken.
        tolerance: in pixels; 15 in the paper.

    Raises:
        ValueError: without boxes and mask, for another size of the mask, or a map with NaN.

    Source: Zhang et al., "Top-down neural attention by excitation backprop" (ECCV 2016).

    >>> cam, boxes = np.array([[0.0, 0.0, 1.0, 0.0]]), np.array([[0, 0, 2, 1]])
    >>> pointing_hit(cam, boxes), pointing_hit(cam, boxes, tolerance=1)
    (False, True)
    """
    cam = _checked(cam, mask, boxes)
    y, x = np.unravel_index(int(cam.argmax()), cam.shape)
    if mask is not None:
        rows, columns = np.nonzero(mask)
        if not len(rows):
            raise ValueError('the mask has no object pixel: nothing can be pointed at')
        return bool(((rows - y) ** 2 + (columns - x) ** 2).min() <= tolerance**2)
    x0, y0, x1, y1 = np.asarray(boxes, np.float64).reshape(-1, 4).T
    beside = np.maximum(np.maximum(x0 - (x + 0.5), (x + 0.5) - x1), 0)
    above = np.maximum(np.maximum(y0 - (y + 0.5), (y + 0.5) - y1), 0)
    return bool((np.hypot(beside, above) <= tolerance).any())


def energy_share(cam: np.ndarray, boxes: np.ndarray | None = None, mask: np.ndarray | None = None) -> float | None:
    r"""Energy pointing: the share of a map's mass on the object, :math:`\sum_{i \in R} m_i^+ / \sum_i m_i^+`.

    Args:
        cam: (H, W) map at the size of the image; its positive part is the mass.
        boxes: (n, 4) x0 y0 x1 y1 in pixels, edges; a pixel that a border cuts counts by its area inside, one in several
            boxes once, as if it lay in the largest share.
        mask: (H, W) object pixels; where there are both, the mask is taken.

    Returns:
        in [0, 1]; None for a map without a positive value.

    Source: Wang et al. (Score-CAM, CVPR-W 2020).

    >>> energy_share(np.array([[3.0, 1.0, -5.0, 0.0]]), boxes=np.array([[0, 0, 1, 1]]))
    0.75
    """
    cam = np.maximum(_checked(cam, mask, boxes), 0)
    total = cam.sum()
    if total == 0:
        return None
    region = np.asarray(mask) > 0 if mask is not None else _box_areas(np.asarray(boxes, np.float64), cam.shape)
    return float((cam * region).sum() / total)


def _box_areas(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) share of each pixel that the box covers which covers most of it."""
    area = np.zeros(size)
    for x0, y0, x1, y1 in boxes.reshape(-1, 4):
        down, across = (
            np.clip(np.minimum(np.arange(n) + 1, high) - np.maximum(np.arange(n), low), 0, 1)
            for n, low, high in ((size[0], y0, y1), (size[1], x0, x1))
        )
        area = np.maximum(area, down[:, None] * across)
    return area


def _checked(cam: np.ndarray, mask: np.ndarray | None, boxes: np.ndarray | None) -> np.ndarray:
    """The map in float64."""
    cam = np.asarray(cam, np.float64)
    if boxes is None and mask is None:
        raise ValueError('pointing needs boxes or a mask of the object')
    if mask is not None and np.shape(mask) != cam.shape:
        raise ValueError(f'the mask {np.shape(mask)} and the map {cam.shape} differ in shape')
    if not np.isfinite(cam).all():
        raise ValueError('a score map holds NaN or infinite values; every location needs a finite score')
    return cam
