# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""ROAD's system written out and solved densely: an oracle for tests."""

from __future__ import annotations

import numpy as np


def dense(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Each removed pixel is the weighted mean of its neighbours inside the image: written out, solved by numpy."""
    height, width = removed.shape
    unknown = [tuple(place) for place in np.argwhere(removed)]
    number = {place: k for k, place in enumerate(unknown)}
    matrix, right = np.zeros((len(unknown), len(unknown))), np.zeros((len(unknown), len(image)))
    for k, (y, x) in enumerate(unknown):
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                there = (y + dy, x + dx)
                if (dy, dx) == (0, 0) or not (0 <= there[0] < height and 0 <= there[1] < width):
                    continue
                weight = 1 / 12 if dy and dx else 1 / 6
                matrix[k, k] += weight
                if there in number:
                    matrix[k, number[there]] -= weight
                else:
                    right[k] += weight * image[:, there[0], there[1]]
    out = image.astype(np.float64).copy()
    for (y, x), value in zip(unknown, np.linalg.solve(matrix, right)):
        out[:, y, x] = value
    return out
