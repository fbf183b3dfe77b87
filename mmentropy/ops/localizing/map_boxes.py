# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One box, or all boxes, from one localisation map at one threshold (CAM, Zhou et al., CVPR 2016)."""

from __future__ import annotations

import cv2
import numpy as np

from .threshold_rules import own_threshold

BOX_CHOICES = ('largest', 'all')


def foreground_mask(cam: np.ndarray, threshold: float | str = 0.2) -> np.ndarray:
    r"""Pixels above a share of the map's maximum, :math:`\{i : m_i > t \cdot \max m\}` (strict).

    Args:
        cam: (H, W) map, any float type: raw, or normalised by its maximum, which gives the same pixels. On a min-max
            normalised map the share is one of the height above the map's minimum, see
            :func:`mmentropy.ops.mapping.scaling.normalize_map`.
        threshold: t in [0, 1), a share of the maximum; 0.2 in the CAM paper. Or ``auto`` or another rule by which the
            map chooses t, see :mod:`mmentropy.ops.localizing.threshold_rules`.

    Returns:
        (H, W) bool; all False where no value is positive (nothing is brought forward).

    Raises:
        ValueError: for another number of axes, a threshold outside [0, 1), or an unknown rule.

    >>> foreground_mask(np.array([[0.1, 0.3, 1.0]]), threshold=0.2).tolist()
    [[False, True, True]]
    """
    cam = np.asarray(cam)
    if cam.ndim != 2:
        raise ValueError(f'a map has two axes (H, W), got shape {cam.shape}; pass one map at a time')
    if isinstance(threshold, str):
        threshold = own_threshold(cam, threshold)
    if not 0 <= threshold < 1:
        raise ValueError(f'threshold is a share of the maximum in [0, 1), got {threshold}')
    top = cam.max(initial=0)
    return cam > threshold * top if top > 0 else np.zeros(cam.shape, dtype=bool)


def boxes_from_map(cam: np.ndarray, threshold: float | str = 0.2, which: str = 'largest') -> np.ndarray:
    """Tight boxes around the 8-connected components of :func:`foreground_mask`.

    Args:
        cam: (H, W) map.
        threshold: share of the maximum, or a rule, see :func:`foreground_mask`.
        which: ``largest`` for the component with most pixels alone (the CAM paper's), ``all`` for every component,
            largest first (ties: the higher, then the one further left).

    Returns:
        (n, 4) float32 boxes x0 y0 x1 y1 in pixels of the map; edges, so x1 is one past the last column.
        (0, 4) when nothing lies above the threshold.

    >>> boxes_from_map(np.array([[0.1, 0.3, 1.0]]), threshold=0.2).tolist()
    [[1.0, 0.0, 3.0, 1.0]]
    """
    if which not in BOX_CHOICES:
        raise ValueError(f'box must be one of {BOX_CHOICES}, got {which!r}')
    mask = foreground_mask(cam, threshold)
    stats = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[2][1:]
    order = np.lexsort((stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP], -stats[:, cv2.CC_STAT_AREA]))
    x, y, w, h = stats[order[: 1 if which == 'largest' else None], :4].T
    return np.stack([x, y, x + w, y + h], axis=1).astype(np.float32)
