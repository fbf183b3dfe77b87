# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Hiding parts of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def grid_edges(length: int, cells: int) -> np.ndarray:
    """Where ``cells`` nearly equal cells of a side of ``length`` pixels begin and end: (cells + 1,) whole pixels.

    >>> grid_edges(10, cells=3).tolist()
    [0, 3, 7, 10]
    """
    return np.round(np.linspace(0, length, cells + 1)).astype(int)


def hide_cells(image: np.ndarray, hidden: np.ndarray, fill: Sequence[float] | float) -> np.ndarray:
    """Hide-and-Seek: fill the chosen cells of a grid over an image (Singh and Lee, ICCV 2017).

    Args:
        image: (H, W) or (H, W, channels).
        hidden: (rows, columns) bool: which cells. Cells cover the image, and differ by at most one pixel a side.
        fill: value of each channel, in the image's unit and channel order; rounded for integer images.

    Returns:
        a copy of the image.

    Raises:
        ValueError: if there are more cells a side than pixels.

    >>> hide_cells(np.ones((2, 4)), hidden=np.array([[True, False]]), fill=0.0).tolist()
    [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]
    """
    rows, columns = hidden.shape
    if rows > image.shape[0] or columns > image.shape[1]:
        raise ValueError(
            f'a grid of {rows}×{columns} cells does not fit an image of {image.shape[0]}×{image.shape[1]} pixels'
        )
    out = image.copy()
    value = np.asarray(fill, dtype=np.float64)
    if np.issubdtype(image.dtype, np.integer):
        value = np.rint(value)
    top, left = grid_edges(image.shape[0], rows), grid_edges(image.shape[1], columns)
    for i, j in np.argwhere(hidden):
        out[top[i] : top[i + 1], left[j] : left[j + 1]] = value.astype(image.dtype)
    return out
