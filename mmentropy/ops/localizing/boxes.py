# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Boxes x0 y0 x1 y1: overlaps with the WSOL protocol's widths, and the way from the original image to the map."""

from __future__ import annotations

import numpy as np


def as_boxes(boxes: np.ndarray) -> np.ndarray:
    """(n, 4) array of boxes, or a ValueError saying what was found.

    >>> as_boxes([(0, 0, 9, 9)]).shape
    (1, 4)
    """
    boxes = np.asarray(boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f'expected (n, 4) boxes x0 y0 x1 y1, found an array of shape {boxes.shape}')
    return boxes


def intersection(boxes: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Shared area of each pair, both corners counted (widths + 1, as in the WSOL protocol).

    Args:
        boxes: (n, 4), in pixels.
        truths: (m, 4), in pixels.

    Returns:
        (n, m) areas in pixels.

    >>> intersection(np.array([[0, 0, 9, 9]]), np.array([[5, 0, 14, 9]])).tolist()
    [[50]]
    """
    a, b = as_boxes(boxes)[:, None], as_boxes(truths)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + 1
    return np.clip(sides, 0, None).prod(-1)


def box_area(boxes: np.ndarray) -> np.ndarray:
    """(n,) areas with both corners counted: (x1 − x0 + 1)(y1 − y0 + 1).

    >>> box_area(np.array([[0, 0, 9, 9]])).tolist()
    [100]
    """
    boxes = as_boxes(boxes)
    return (boxes[:, 2:] - boxes[:, :2] + 1).prod(-1)


def box_iou(boxes: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Intersection over union of each pair, (n, m) float64, widths + 1.

    >>> box_iou(np.array([[0, 0, 9, 9]]), np.array([[0, 0, 9, 4]])).tolist()
    [[0.5]]
    """
    shared = intersection(boxes, truths)
    return shared / (box_area(boxes)[:, None] + box_area(truths)[None] - shared)


def scale_boxes(boxes: np.ndarray, ori_shape: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Move boxes from the original image to the map: ``int(coordinate * size / original size)``, truncated.

    Args:
        boxes: (n, 4) x0 y0 x1 y1 in pixels of the original image.
        ori_shape: (height, width) of the original image.
        size: (height, width) of the map.

    Returns:
        (n, 4) int64.

    >>> scale_boxes(np.array([[10, 20, 30, 40]]), ori_shape=(100, 200), size=(50, 50)).tolist()
    [[2, 10, 7, 20]]
    """
    boxes = as_boxes(boxes).astype(np.float64)
    new = np.array([size[1], size[0]] * 2, dtype=np.float64)
    old = np.array([ori_shape[1], ori_shape[0]] * 2, dtype=np.float64)
    if not np.isfinite(boxes).all() or (old < 1).any():
        raise ValueError(f'cannot scale the boxes {boxes.tolist()} of an image of (height, width) {tuple(ori_shape)}')
    return (boxes * new / old).astype(np.int64)


def center_map(size: tuple[int, int]) -> np.ndarray:
    r"""A map whose level sets are the boxes of the image's aspect around its centre, falling linearly to the border.

    .. math:: m(y, x) = 1 - \max\left(\frac{|y - c_y|}{c_y}, \frac{|x - c_x|}{c_x}\right)

    Evaluated as any map, it gives the best centre box: what a method scores that never looks at the image.

    Args:
        size: (height, width) in pixels.

    Returns:
        (height, width) float32 in [0, 1].

    >>> center_map((3, 5)).tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.5, 1.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    y, x = (np.abs(np.linspace(-1, 1, n)) if n > 1 else np.zeros(1) for n in size)
    return (1 - np.maximum(y[:, None], x[None])).astype(np.float32)
