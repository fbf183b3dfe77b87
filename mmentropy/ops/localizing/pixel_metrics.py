# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Score maps against masks: precision and recall over thresholds, IoU, Dice; where a map's mass lies.

The pixel half of the WSOL protocol (Choe et al., CVPR 2020), and the Dice of min-max entropy (IEEE TMI 2022).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mmentropy.ops.mapping.geometry import HALF_PIXEL, MapGrid
from mmentropy.ops.mapping.scaling import draw_maps

from .protocol import thresholds_of


def histogram_edges(interval: float = 0.001, extra: Sequence[float] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the score histogram, and which of them are the protocol's.

    Args:
        interval: distance of the protocol's edges [0, .001, …, .999, 1, 2, 3].
        extra: further thresholds in [0, 1], to be met exactly.

    Returns:
        (E,) sorted edges, and the indices of the protocol's edges among them.

    >>> edges, protocol = histogram_edges(0.5, extra=[0.25])
    >>> edges.tolist(), protocol.tolist()
    ([0.0, 0.25, 0.5, 1.0, 2.0, 3.0], [0, 2, 3, 4, 5])
    """
    protocol = np.append(thresholds_of(interval), [1.0, 2.0, 3.0])
    edges = np.unique(np.append(protocol, np.asarray(extra, dtype=np.float64)))
    return edges, np.searchsorted(edges, protocol)


def score_histogram(scores: Tensor, mask: Tensor, ignore: Tensor | None, edges: Tensor) -> Tensor:
    """Histograms of the scores of background and foreground pixels, by one ``bincount`` on the scores' device.

    Args:
        scores: (H, W) in [0, 1], any float type.
        mask: (H, W) bool, the foreground.
        ignore: (H, W) bool, pixels left out unless they are foreground; or None.
        edges: (E,) float64, increasing; bin i is [edge i, edge i+1). float64, or scores near an edge would move.

    Returns:
        (2, E − 1) int64, background first.

    Raises:
        ValueError: for NaN, a score outside the edges, or a mask of another shape.

    >>> scores, mask = torch.tensor([[0.1, 0.9, 0.7]]), torch.tensor([[False, True, False]])
    >>> score_histogram(scores, mask, None, torch.tensor([0, 0.5, 1, 2], dtype=torch.float64)).tolist()
    [[1, 1, 0], [0, 1, 0]]
    """
    if mask.shape != scores.shape or (ignore is not None and ignore.shape != scores.shape):
        raise ValueError(f'map, mask and ignore region differ in shape: {tuple(scores.shape)}, {tuple(mask.shape)}, …')
    bins = len(edges) - 1
    place = torch.bucketize(scores.double(), edges, right=True) - 1
    if not bool(((place >= 0) & (place < bins)).all()):  # NaN sorts behind the last edge
        raise ValueError(f'a score map must lie in [{edges[0]:g}, {edges[-1]:g}) without NaN')
    place = place + bins * mask
    if ignore is not None:
        place = place[mask | ~ignore]
    return torch.bincount(place.flatten(), minlength=2 * bins).reshape(2, bins)


def confusions(histogram: np.ndarray) -> np.ndarray:
    """Confusion counts when pixels with a score of at least edge i are taken as foreground.

    Args:
        histogram: (..., 2, B) from :func:`score_histogram`.

    Returns:
        (..., 4, B) int64: true positives, false positives, false negatives, true negatives.

    >>> confusions(np.array([[1, 1, 0], [0, 1, 0]])).tolist()  # of thresholds 0, 1/2 and 1
    [[1, 1, 0], [2, 1, 0], [0, 0, 1], [0, 1, 2]]
    """
    histogram = np.asarray(histogram)
    above = histogram[..., ::-1].cumsum(-1)[..., ::-1]
    below = histogram.sum(-1, keepdims=True) - above
    return np.stack([above[..., 1, :], above[..., 0, :], below[..., 1, :], below[..., 0, :]], axis=-2)


def average_precision(histogram: np.ndarray) -> float | None:
    r"""PxAP, the area under precision over recall, in per cent.

    .. math:: 100 \sum_i \mathrm{precision}_i\, (\mathrm{recall}_i - \mathrm{recall}_{i-1})

    from the highest bin down. A constant map, being zero everywhere, scores the foreground's share.

    Args:
        histogram: (2, B) with the protocol's bins.

    Returns:
        Per cent; None without a foreground pixel.

    >>> average_precision(np.array([[1, 1, 0], [0, 1, 0]]))  # the object comes with one wrong pixel
    50.0
    """
    tp, fp, fn, _ = confusions(histogram)[:, ::-1].astype(np.float64)
    positives = tp[0] + fn[0]
    if positives == 0:
        return None
    called = np.maximum(tp + fp, 1)  # where nothing is found yet, recall does not move either
    return float(100 * np.sum((tp / called)[1:] * np.diff(tp / positives)))


def iou_score(confusion: np.ndarray) -> np.ndarray:
    """IoU of the foreground, tp / (tp + fp + fn), from (4, ...) counts; NaN where the mask has no foreground.

    >>> iou_score(np.array([[3], [1], [0], [6]])).tolist()
    [0.75]
    """
    tp, fp, fn, _ = np.asarray(confusion, dtype=np.float64)
    return np.where(tp + fn > 0, tp / np.maximum(tp + fp + fn, 1), np.nan)


def dice_scores(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Dice of foreground and background, F1⁺ = 2tp / (2tp + fp + fn) and F1⁻ = 2tn / (2tn + fp + fn).

    Args:
        confusion: (4, ...) true positives, false positives, false negatives, true negatives.

    Returns:
        F1⁺ and F1⁻, float64; NaN where the mask has no foreground, or no background, pixel.

    >>> fore, back = dice_scores(np.array([[3], [2], [0], [9]]))
    >>> fore.tolist(), back.tolist()
    ([0.75], [0.9])
    """
    tp, fp, fn, tn = np.asarray(confusion, dtype=np.float64)
    fore = np.where(tp + fn > 0, 2 * tp / np.maximum(2 * tp + fp + fn, 1), np.nan)
    back = np.where(tn + fp > 0, 2 * tn / np.maximum(2 * tn + fp + fn, 1), np.nan)
    return fore, back


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) mask to (height, width) bool, nearest neighbour as ``cv2.resize`` takes it.

    >>> resize_mask(np.array([[0, 1]]), (1, 4)).tolist()
    [[False, False, True, True]]
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f'a mask has the shape (H, W), found {mask.shape}')
    return cv2.resize((mask > 0).astype(np.uint8), (size[1], size[0]), interpolation=cv2.INTER_NEAREST) > 0


def upsample_on_device(cam: Tensor, size: tuple[int, int], grid: MapGrid | None = HALF_PIXEL) -> Tensor:
    """:func:`mmentropy.ops.mapping.scaling.upsample_map` with cubic interpolation, on the map's device.

    torch's bicubic kernel is OpenCV's (a = −0.75, half-pixel centres, replicated border): the maps agree to about 1e-6.

    Args:
        cam: (h, w) raw map on any device.
        size: (height, width).
        grid: where the map's locations look, see :func:`mmentropy.ops.mapping.scaling.draw_maps`.

    Returns:
        (height, width) float32 in [0, 1].

    >>> upsample_on_device(torch.tensor([[1.0, 2.0, 3.0]]), (1, 3))
    tensor([[0.0000, 0.5000, 1.0000]])
    """
    cam = cam.detach().float()
    if grid is not None and not grid.is_half_pixel((cam.shape[0], cam.shape[1])):
        cam = draw_maps(cam, size, grid)
    elif cam.shape != tuple(size):
        cam = interpolate(cam[None, None], size=tuple(size), mode='bicubic', align_corners=False)[0, 0]
    low, high = cam.aminmax()
    if not bool(torch.isfinite(high - low)):
        raise ValueError('a score map holds NaN or infinite values; every location needs a finite score')
    return (cam - low) / torch.where(high > low, high - low, 1)


def mass_shares(cam: np.ndarray, mask: np.ndarray, part: np.ndarray) -> np.ndarray | None:
    r"""Shares of a map's mass on the discriminative part, the rest of the object, and the background.

    .. math:: s_R = \frac{\sum_{i \in R} \max(m_i, 0)}{\sum_i \max(m_i, 0)}

    Args:
        cam: (H, W) raw map.
        mask: (H, W) bool, the object.
        part: (H, W) bool, the part; pixels outside the object count as part all the same.

    Returns:
        (3,) float64 that sum to one; None for a map without a positive value.

    >>> mask, part = np.array([[1, 1, 0, 0]]), np.array([[1, 0, 0, 0]])
    >>> mass_shares(np.array([[2.0, 1.0, 1.0, -5.0]]), mask, part).tolist()
    [0.5, 0.25, 0.25]
    """
    cam = np.maximum(np.asarray(cam, dtype=np.float64), 0)
    total = cam.sum()
    if not np.isfinite(total):
        raise ValueError('a score map holds NaN or infinite values; every location needs a finite score')
    if total == 0:
        return None
    mask, part = np.asarray(mask, dtype=bool), np.asarray(part, dtype=bool)
    regions = part, mask & ~part, ~mask & ~part
    return np.array([cam[region].sum() for region in regions]) / total
