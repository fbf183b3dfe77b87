# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Which parts of an image a map, or one unit of it, looks at."""

from __future__ import annotations

import numpy as np

from .map_boxes import foreground_mask


def region_shares(cam: np.ndarray, boxes: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    r"""The share of a map's high region that lies in each box, :math:`|R \cap B| / |R|`.

    Args:
        cam: (H, W) map.
        boxes: (n, 4) x0 y0 x1 y1 in pixels of the map, edges (x1 one past the last column), rounded to whole pixels.
        threshold: R holds the pixels above this share of the maximum.

    Returns:
        (n,) float64 in [0, 1]; zeros where nothing is above the threshold.
    """
    region = foreground_mask(cam, threshold)
    height, width = region.shape
    table = np.zeros((height + 1, width + 1))
    table[1:, 1:] = region.cumsum(0).cumsum(1)
    x0, y0, x1, y1 = np.asarray(boxes, dtype=np.float64).reshape(-1, 4).round().astype(int).T
    (x0, x1), (y0, y1) = (np.clip((a, b), 0, n) for a, b, n in ((x0, x1, width), (y0, y1, height)))
    x1, y1 = np.maximum(x0, x1), np.maximum(y0, y1)
    inside = table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]
    return inside / max(table[-1, -1], 1)


def rank_units(weight: np.ndarray, label: int, count: int) -> np.ndarray:
    """The units that speak most for a class: indices of the largest weights :math:`w_k^c`, largest first.

    Args:
        weight: (C, D) of the linear classifier.
        label: the class c.
        count: how many.
    """
    if not 0 <= label < len(weight):
        raise ValueError(f'class {label} does not exist: the classifier has the classes 0 to {len(weight) - 1}')
    return np.argsort(-np.asarray(weight)[label], kind='stable')[:count]


def keep_best(scores: np.ndarray, items: list, new_scores: np.ndarray, new_items: list, count: int) -> tuple:
    """The ``count`` best of two lists, best first; equal scores keep their order."""
    together = np.concatenate([scores, new_scores])
    order = np.argsort(-together, kind='stable')[:count]
    both = [*items, *new_items]
    return together[order], [both[i] for i in order]
