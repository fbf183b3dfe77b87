# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Class maps against class maps: the counts of every pair of classes, and the IoU of each class."""

from __future__ import annotations

import numpy as np

IGNORE = 255


def label_type(num_classes: int) -> np.dtype:
    """The smallest type of a map of so many classes; its highest value, :func:`ignore_value`, is left for no class.

    Args:
        num_classes: C, with background.

    Returns:
        uint8 up to 255 classes, uint16 up to 65 535.

    Raises:
        ValueError: for more.

    >>> label_type(21), label_type(301)
    (dtype('uint8'), dtype('uint16'))
    """
    for kind in (np.uint8, np.uint16):
        if num_classes <= np.iinfo(kind).max:
            return np.dtype(kind)
    raise ValueError(f'{num_classes} classes; a class map holds up to {np.iinfo(np.uint16).max}, with background')


def ignore_value(num_classes: int) -> int:
    """What stands in a map of so many classes, background included, for a pixel that is left out.

    >>> ignore_value(21), ignore_value(255), ignore_value(256)
    (255, 255, 65535)
    """
    return int(np.iinfo(label_type(num_classes)).max)


def confusion_matrix(predicted: np.ndarray, truth: np.ndarray, num_classes: int) -> np.ndarray:
    """How many pixels of each true class are called each class.

    Args:
        predicted: (H, W) classes; :func:`ignore_value`, a pixel that nothing was decided on, counts as background.
        truth: (H, W) classes, 0 background; pixels of :func:`ignore_value` (255 up to 255 classes) are left out.
        num_classes: C, with background.

    Returns:
        (C, C) int64, rows the truth; add up those of a data set.

    Raises:
        ValueError: if the sizes differ, or a class is not below C.

    >>> confusion_matrix(np.array([[0, 1, 255]]), np.array([[0, 1, 1]]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.shape != truth.shape:
        raise ValueError(f'the prediction has size {predicted.shape}, the truth {truth.shape}')
    ignore = ignore_value(num_classes)
    valid = truth != ignore
    rows = truth[valid].astype(np.int64)
    columns = np.where(predicted == ignore, 0, predicted)[valid].astype(np.int64)
    highest = max((int(part.max()) for part in (rows, columns) if part.size), default=0)
    if highest >= num_classes:
        raise ValueError(f'a map holds class {highest}; classes are 0 … {num_classes - 1} or {ignore}')
    return np.bincount(rows * num_classes + columns, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_iou(counts: np.ndarray) -> np.ndarray:
    r"""Intersection over union of each class, :math:`\frac{TP}{TP + FP + FN}`.

    Args:
        counts: (C, C) of :func:`confusion_matrix`.

    Returns:
        (C,) float64 in [0, 1]; NaN for a class that is neither in the truth nor in the prediction, so that ``nanmean``
        is the mIoU over those that occur.

    >>> class_iou(np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]))
    array([0.75      , 0.66666667,        nan])
    """
    counts = np.asarray(counts)
    hit = np.diag(counts).astype(np.float64)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hit
    return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)
