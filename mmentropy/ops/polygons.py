# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Outlines as masks, as COCO's annotations give them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def fill_polygon(points: np.ndarray | Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """The pixels whose centre lies inside of a polygon, by the even-odd rule.

    Each edge flips, in every row whose centre line it crosses, all pixels to the right of the crossing. A centre that
    lies exactly on an edge belongs to the polygon on a left or upper edge, not on a right or lower one.

    Args:
        points: (N, 2) or 2 N numbers, x and y in turn; pixel (0, 0) reaches from 0 to 1, so its centre is at 0.5. What
            lies outside of the image is cut.
        size: (height, width) of the image.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: for fewer than three points, an odd count of numbers, or one that is not finite.

    >>> fill_polygon([1, 0, 3, 0, 3, 2, 1, 2], (3, 4)).astype(int).tolist()
    [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    numbers = np.asarray(points, np.float64).ravel()
    if len(numbers) < 6 or len(numbers) % 2 or not np.isfinite(numbers).all():
        raise ValueError(f'a polygon has three or more points of two finite numbers, found {len(numbers)} numbers')
    height, width = size
    start = numbers.reshape(-1, 2)
    stop = np.roll(start, -1, axis=0)
    rows = np.arange(height) + 0.5
    # (edges, rows): an edge holds its upper end and not its lower one, so that a corner counts once
    low, high = np.minimum(start[:, 1], stop[:, 1]), np.maximum(start[:, 1], stop[:, 1])
    edge, row = np.nonzero((low[:, None] <= rows) & (rows < high[:, None]))
    (x0, y0), (x1, y1) = start[edge].T, stop[edge].T
    crossing = x0 + (rows[row] - y0) * (x1 - x0) / (y1 - y0)
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    flips = np.zeros((height, width + 1), np.int64)
    np.add.at(flips, (row, column), 1)
    return flips[:, :width].cumsum(axis=1) % 2 == 1
