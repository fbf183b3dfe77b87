# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""mIoU, precision and recall of class maps over **all** background thresholds, reading each map once.

At threshold θ a pixel is its best foreground class if that scores above θ, else background. So a pixel matters through
three numbers, (best score, best class, true class), and one histogram over them gives the confusion at every θ.
The power background :math:`(1 - s)^\alpha` is a threshold as well: s > (1 − s)^α holds exactly for s above the root of
:math:`s = (1 - s)^\alpha`, so one curve also covers every α; :func:`power_threshold`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from .seeds import IGNORE


class SeedCurve(NamedTuple):
    """What :func:`seed_curve` returns; S thresholds, C classes with background first; NaN for an absent class.

    Args:
        thresholds: (S,).
        iou: (S, C) intersection over union, in [0, 1].
        precision: (S, C).
        recall: (S, C).
        miou: (S,) mean over the classes that occur in the truth or the prediction.

    >>> histogram = np.array([[[3, 1, 0]], [[0, 1, 3]]])  # background and object, scores in three bins
    >>> curve = seed_curve(histogram, thresholds=np.array([0.3, 0.6]))
    >>> curve.iou.tolist(), curve.best
    ([[0.75, 0.8], [0.8, 0.75]], (0.3, 0.775))
    """

    thresholds: np.ndarray
    iou: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    miou: np.ndarray

    @property
    def best(self) -> tuple[float, float]:
        """The threshold of the highest mIoU, and that mIoU."""
        i = int(np.nanargmax(self.miou))
        return float(self.thresholds[i]), float(self.miou[i])


def power_threshold(alpha: float) -> float:
    r"""The θ at which :math:`\theta = (1 - \theta)^\alpha`: the power background as a constant one. α > 0.

    >>> round(power_threshold(1.0), 6)
    0.5
    """
    if not alpha > 0:
        raise ValueError(f'alpha must be positive, got {alpha}')
    return float(brentq(lambda s: s - (1 - s) ** alpha, 0, 1, xtol=1e-12))


def seed_histogram(
    scores: np.ndarray, labels: np.ndarray, target: np.ndarray, thresholds: np.ndarray, num_classes: int
) -> np.ndarray:
    """Counts of one image; add up those of a data set.

    Args:
        scores: (K, H, W) class scores in [0, 1]; K may be 0.
        labels: (K,) their classes, 0 … num_classes − 2, without background.
        target: (H, W) true classes, 0 background, class + 1, 255 left out.
        thresholds: (S,) increasing.
        num_classes: C, with background.

    Returns:
        (C, C − 1, S + 1) int64: true class, best class, number of thresholds below the best score.

    Raises:
        ValueError: if sizes differ or a class is out of range.

    >>> scores, target = np.array([[[0.9, 0.2]]]), np.array([[1, 0]])
    >>> seed_histogram(scores, labels=[0], target=target, thresholds=[0.5], num_classes=2).tolist()
    [[[1, 0]], [[0, 1]]]
    """
    scores, target = np.asarray(scores), np.asarray(target)
    labels = np.asarray(labels, np.int64)
    if scores.shape[1:] != target.shape or len(scores) != len(labels):
        raise ValueError(f'scores {scores.shape}, {len(labels)} labels and target {target.shape} do not fit')
    if len(labels) and not (labels.min() >= 0 and labels.max() < num_classes - 1):
        raise ValueError(f'labels {labels.tolist()} must lie in 0 … {num_classes - 2}')
    valid = target != IGNORE
    if valid.any() and target[valid].max() >= num_classes:
        raise ValueError(f'the target holds {int(target[valid].max())}; classes are 0 … {num_classes - 1} or {IGNORE}')
    shape = (num_classes, num_classes - 1, len(thresholds) + 1)
    truth = target[valid].astype(np.int64)
    if len(labels):
        flat = scores[:, valid]
        best = flat.argmax(axis=0)
        above = np.searchsorted(thresholds, flat[best, np.arange(len(best))], side='left')
        kind = labels[best]
    else:
        above = kind = np.zeros_like(truth)
    index = (truth * shape[1] + kind) * shape[2] + above
    return np.bincount(index, minlength=int(np.prod(shape))).reshape(shape)


def seed_curve(histogram: np.ndarray, thresholds: np.ndarray) -> SeedCurve:
    r"""IoU :math:`\frac{TP}{TP+FP+FN}`, precision and recall of each class at each threshold.

    Args:
        histogram: sum of :func:`seed_histogram` over the images.
        thresholds: the same (S,).

    >>> seed_curve(np.array([[[1, 0]], [[1, 1]]]), thresholds=np.array([0.5])).iou.tolist()
    [[0.5, 0.5]]
    """
    thresholds = np.asarray(thresholds, np.float64)
    if histogram.shape[-1] != len(thresholds) + 1:
        raise ValueError(f'the histogram has {histogram.shape[-1]} bins, {len(thresholds)} thresholds need one more')
    # at[t, k, s]: pixels of true class t called k at threshold s
    at = histogram[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]
    truth = histogram.sum(axis=(1, 2))
    background = truth[:, None] - at.sum(axis=1)
    called = np.concatenate([background.sum(axis=0)[None], at.sum(axis=0)]).T.astype(np.float64)
    classes = np.arange(at.shape[1])
    hit = np.concatenate([background[:1], at[classes + 1, classes]]).T.astype(np.float64)
    with np.errstate(invalid='ignore', divide='ignore'):
        iou = hit / (called + truth - hit)
        precision, recall = hit / called, hit / truth
        total = np.isfinite(iou).sum(axis=1)
        miou = np.where(total, np.nansum(iou, axis=1) / total, np.nan)
    return SeedCurve(thresholds, iou, precision, recall, miou)


def dataset_curve(
    images: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], thresholds: np.ndarray, num_classes: int
) -> SeedCurve:
    """:func:`seed_curve` of (scores, labels, target) triples, each read once.

    >>> image = np.array([[[0.9, 0.2]]]), np.array([0]), np.array([[1, 0]])  # scores, labels, target
    >>> dataset_curve([image], thresholds=np.array([0.1, 0.5]), num_classes=2).best
    (0.5, 1.0)
    """
    total = np.zeros((num_classes, num_classes - 1, len(thresholds) + 1), np.int64)
    for scores, labels, target in images:
        total += seed_histogram(scores, labels, target, np.asarray(thresholds), num_classes)
    return seed_curve(total, thresholds)
