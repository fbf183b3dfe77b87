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

from .confusion import ignore_value


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
        target: (H, W) true classes, 0 background, class + 1; :func:`~mmentropy.ops.seeding.confusion.ignore_value`
            (255 up to 255 classes) is left out.
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
    truth, kind, above = _pixels(scores, labels, target, thresholds, num_classes)
    shape = (num_classes, num_classes - 1, len(thresholds) + 1)
    index = (truth * shape[1] + kind) * shape[2] + above
    return np.bincount(index, minlength=int(np.prod(shape))).reshape(shape)


def seed_counts(
    scores: np.ndarray, labels: np.ndarray, target: np.ndarray, thresholds: np.ndarray, num_classes: int
) -> np.ndarray:
    """What :func:`seed_curve` needs of :func:`seed_histogram`, without its square of the classes.

    Args:
        scores, labels, target, thresholds, num_classes: of :func:`seed_histogram`.

    Returns:
        (3, C, S + 1) int64 counts by the number of thresholds below the best score: pixels of each true class, pixels
        whose best class it is (none for the background), and pixels for which both hold.

    Raises:
        ValueError: as :func:`seed_histogram`.

    >>> scores, target = np.array([[[0.9, 0.2]]]), np.array([[1, 0]])
    >>> seed_counts(scores, labels=[0], target=target, thresholds=[0.5], num_classes=2).tolist()
    [[[1, 0], [0, 1]], [[0, 0], [1, 1]], [[0, 0], [0, 1]]]
    """
    truth, kind, above = _pixels(scores, labels, target, thresholds, num_classes)
    bins = len(thresholds) + 1
    same = truth == kind + 1
    rows = truth, kind + 1, truth[same]
    levels = above, above, above[same]
    counts = [np.bincount(row * bins + level, minlength=num_classes * bins) for row, level in zip(rows, levels)]
    return np.stack(counts).reshape(3, num_classes, bins)


def _pixels(
    scores: np.ndarray, labels: np.ndarray, target: np.ndarray, thresholds: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True class, best class and number of thresholds below the best score of each pixel that counts."""
    scores, target = np.asarray(scores), np.asarray(target)
    labels = np.asarray(labels, np.int64)
    if scores.shape[1:] != target.shape or len(scores) != len(labels):
        raise ValueError(f'scores {scores.shape}, {len(labels)} labels and target {target.shape} do not fit')
    if len(labels) and not (labels.min() >= 0 and labels.max() < num_classes - 1):
        raise ValueError(f'labels {labels.tolist()} must lie in 0 … {num_classes - 2}')
    ignore = ignore_value(num_classes)
    valid = target != ignore
    if valid.any() and target[valid].max() >= num_classes:
        raise ValueError(f'the target holds {int(target[valid].max())}; classes are 0 … {num_classes - 1} or {ignore}')
    truth = target[valid].astype(np.int64)
    if not len(labels):
        return truth, np.zeros_like(truth), np.zeros_like(truth)
    flat = scores[:, valid]
    best = flat.argmax(axis=0)
    above = np.searchsorted(thresholds, flat[best, np.arange(len(best))], side='left')
    return truth, labels[best], above


def seed_curve(histogram: np.ndarray, thresholds: np.ndarray) -> SeedCurve:
    r"""IoU :math:`\frac{TP}{TP+FP+FN}`, precision and recall of each class at each threshold.

    Args:
        histogram: sum of :func:`seed_histogram` over the images.
        thresholds: the same (S,).

    >>> seed_curve(np.array([[[1, 0]], [[1, 1]]]), thresholds=np.array([0.5])).iou.tolist()
    [[0.5, 0.5]]
    """
    best = np.concatenate([np.zeros_like(histogram[0, :1]), histogram.sum(axis=0)])
    classes = np.arange(histogram.shape[1])
    both = np.concatenate([np.zeros_like(histogram[0, :1]), histogram[classes + 1, classes]])
    return curve_of_counts(np.stack([histogram.sum(axis=1), best, both]), thresholds)


def curve_of_counts(counts: np.ndarray, thresholds: np.ndarray) -> SeedCurve:
    """:func:`seed_curve` from the sum of :func:`seed_counts` over the images.

    >>> counts = np.array([[[1, 0], [0, 1]], [[0, 0], [1, 1]], [[0, 0], [0, 1]]])
    >>> curve_of_counts(counts, thresholds=np.array([0.5])).miou.tolist()
    [1.0]
    """
    thresholds = np.asarray(thresholds, np.float64)
    if counts.shape[-1] != len(thresholds) + 1:
        raise ValueError(f'the histogram has {counts.shape[-1]} bins, {len(thresholds)} thresholds need one more')
    # (C, S) each: pixels above threshold s of true class c, those whose best class c is, and those of both
    of_truth, called, hit = counts[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:].astype(np.float64)
    truth = counts[0].sum(axis=-1)
    called[0] = (truth[:, None] - of_truth).sum(axis=0)
    hit[0] = truth[0] - of_truth[0]
    called, hit = called.T, hit.T
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
    total = np.zeros((3, num_classes, len(thresholds) + 1), np.int64)
    for scores, labels, target in images:
        total += seed_counts(scores, labels, target, np.asarray(thresholds), num_classes)
    return curve_of_counts(total, thresholds)
