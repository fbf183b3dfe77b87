# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From class maps to seeds: what is background, and the sparse cues that SEC and DSRG start from."""

from __future__ import annotations

import numpy as np

from mmentropy.ops.mapping.scaling import resize_map

from .confusion import ignore_value, label_type

#: SEC's and DSRG's cue resolution for 321² inputs at stride 8.
CUE_SIZE = (41, 41)


def scale_to_peak(maps: np.ndarray) -> np.ndarray:
    """Negative values cut, each map divided by its maximum: (K, H, W) float32 in [0, 1]; a map without any stays 0.

    >>> scale_to_peak(np.array([[[-1.0, 2.0, 4.0]]])).tolist()
    [[[0.0, 0.5, 1.0]]]
    """
    maps = np.maximum(np.asarray(maps, np.float32), 0)
    peak = maps.max(axis=(-2, -1), keepdims=True)
    return maps / np.where(peak > 0, peak, 1)


def to_probabilities(scores: np.ndarray, floor: float = 1e-5) -> np.ndarray:
    r"""Scores as probabilities at each location, :math:`p_c = \max(s_c, \epsilon) / \sum_k \max(s_k, \epsilon)`.

    Args:
        scores: (K + 1, H, W), background first.
        floor: ε, so that a probability has a logarithm; where all scores are lower, every class is as likely.

    Returns:
        (K + 1, H, W) that sum to one over the classes.

    >>> to_probabilities(np.array([[[3.0, 0.0]], [[1.0, 0.0]]]))[:, 0].tolist()
    [[0.75, 0.5], [0.25, 0.5]]
    """
    scores = np.maximum(scores, floor)
    return scores / scores.sum(axis=0)


def power_background(scores: np.ndarray, alpha: float = 4.0) -> np.ndarray:
    r"""AffinityNet's :math:`b = (1 - \max_k s_k)^\alpha`.

    Args:
        scores: (K, H, W) in [0, 1]; without any class everything is background.
        alpha: smaller means more background; the released code uses 4 and 32 for its two label sets, 16 for seeds.

    Returns:
        (H, W) float32.

    >>> power_background(np.array([[[0.0, 0.5, 1.0]]]), alpha=2.0).tolist()
    [[1.0, 0.25, 0.0]]
    """
    scores = np.asarray(scores, np.float32)
    best = scores.max(axis=0) if len(scores) else np.zeros(scores.shape[1:], np.float32)
    return (1 - np.clip(best, 0, 1)) ** np.float32(alpha)


def constant_background(scores: np.ndarray, threshold: float = 0.15) -> np.ndarray:
    """The same score everywhere, (H, W) float32; IRN's 0.15.

    >>> constant_background(np.zeros((2, 1, 3)), threshold=0.25).tolist()
    [[0.25, 0.25, 0.25]]
    """
    return np.full(np.asarray(scores).shape[1:], threshold, np.float32)


def entropy_background(entropy: np.ndarray, power: float = 1.0, highest: float | None = None) -> np.ndarray:
    r"""Where the location entropy is high the network cannot tell the class: background, :math:`b = \hat H^\gamma`.

    Args:
        entropy: (H, W) location entropy in nats.
        power: γ; larger means less background.
        highest: :math:`\hat H = H / highest`, cut at 1, e.g. log C; None min-max normalises within the image, and a
            constant map is zero.

    Returns:
        (H, W) float32 in [0, 1].

    >>> entropy_background(np.array([[0.0, 1.0, 2.0]])).tolist()
    [[0.0, 0.5, 1.0]]
    """
    entropy = np.asarray(entropy, np.float32)
    if not np.isfinite(entropy).all():
        raise ValueError('the entropy map holds NaN or infinite values')
    if highest is not None:
        if not highest > 0:
            raise ValueError(f'highest must be positive, e.g. log C, got {highest}')
        return np.clip(entropy / np.float32(highest), 0, 1) ** np.float32(power)
    low, span = entropy.min(), np.ptp(entropy)
    return ((entropy - low) / (span if span > 0 else 1)) ** np.float32(power)


def saliency_background(saliency: np.ndarray, power: float = 1.0) -> np.ndarray:
    r"""What does not stand out is background, :math:`b = (1 - s)^\gamma`.

    Args:
        saliency: (H, W) in [0, 1], high on objects.
        power: γ; larger means less background.

    Returns:
        (H, W) float32 in [0, 1].

    >>> saliency_background(np.array([[0.0, 0.5, 1.0]]), power=2).tolist()
    [[1.0, 0.25, 0.0]]
    """
    saliency = np.asarray(saliency, np.float32)
    if not (saliency.min() >= 0 and saliency.max() <= 1):
        raise ValueError(f'saliency lies in [0, 1], found {saliency.min():g} to {saliency.max():g}')
    return (1 - saliency) ** np.float32(power)


def seed_map(scores: np.ndarray, labels: np.ndarray, background: np.ndarray, num_classes: int = 255) -> np.ndarray:
    """Hard seeds: the best class where it beats the background, else 0.

    Args:
        scores: (K, H, W) in [0, 1].
        labels: (K,) classes from 0.
        background: (H, W) score of the background; it wins ties.
        num_classes: C of the set, with background, which decides the type.

    Returns:
        (H, W) of :func:`~mmentropy.ops.seeding.confusion.label_type`: 0 background, class + 1.

    Raises:
        ValueError: for a label that is no class of the set.

    >>> seed_map(np.array([[[0.9, 0.1]]]), labels=np.array([3]), background=np.array([[0.5, 0.5]])).tolist()
    [[4, 0]]
    """
    stacked = np.concatenate([background[None], scores])
    lookup = np.concatenate([[0], np.asarray(labels, np.int64) + 1])
    if lookup.max() >= num_classes or lookup.min() < 0:
        raise ValueError(f'labels {np.asarray(labels).tolist()} must lie in 0 … {num_classes - 2}')
    return lookup.astype(label_type(num_classes))[stacked.argmax(axis=0)]


def confident_map(
    scores: np.ndarray,
    labels: np.ndarray,
    bg_threshold: float = 0.05,
    fg_threshold: float = 0.30,
    num_classes: int = 255,
) -> np.ndarray:
    """IRN's band: a class above the upper threshold, background below the lower one, left out between.

    Args:
        scores: (K, H, W) in [0, 1].
        labels: (K,) classes from 0.
        bg_threshold: everything whose best score is at most this is background.
        fg_threshold: a best score above this is its class.
        num_classes: C of the set, with background.

    Returns:
        (H, W) of :func:`~mmentropy.ops.seeding.confusion.label_type`; what is left out is its
        :func:`~mmentropy.ops.seeding.confusion.ignore_value`.

    >>> confident_map(np.array([[[0.9, 0.1, 0.0]]]), labels=np.array([3])).tolist()
    [[4, 255, 0]]
    """
    if bg_threshold > fg_threshold:
        raise ValueError(f'the band is upside down: bg_threshold {bg_threshold} > fg_threshold {fg_threshold}')
    hard = seed_map(scores, labels, constant_background(scores, fg_threshold), num_classes)
    best = scores.max(axis=0) if len(scores) else np.zeros(np.shape(scores)[1:], np.float32)
    hard[(hard == 0) & (best > bg_threshold)] = ignore_value(num_classes)
    return hard


def dsrg_cues(
    scores: np.ndarray,
    labels: np.ndarray,
    background: np.ndarray,
    num_classes: int = 21,
    size: tuple[int, int] = CUE_SIZE,
    fg_share: float = 0.2,
    bg_threshold: float | None = 0.06,
    bg_share: float = 0.1,
) -> np.ndarray:
    r"""SEC's and DSRG's sparse cues on a small grid.

    A class' cue is :math:`s_c > 0.2 \max s_c`; where classes meet the one with the smaller cue area keeps the location,
    so that a small object is not lost in a large one. The background's cue is ``background < bg_threshold`` (saliency,
    where there is some), or, with ``bg_threshold=None``, the ``bg_share`` of the locations with the lowest value, e.g.
    of an entropy contrast.

    Args:
        scores: (K, h, w) class scores.
        labels: (K,) classes from 0.
        background: (h', w'), **low** on background: saliency, or highest entropy minus entropy.
        num_classes: C, with background.
        size: (height, width) of the grid.
        fg_share: of each class' maximum.
        bg_threshold: of the background map, or None.
        bg_share: share of the locations, in (0, 1).

    Returns:
        (C, height, width) bool, at most one class a location; an object's cue goes before the background's.

    >>> scores, saliency = np.array([[[1.0, 0.0]]]), np.array([[1.0, 0.0]])
    >>> dsrg_cues(scores, np.array([0]), saliency, num_classes=2, size=(1, 2)).tolist()
    [[[False, True]], [[True, False]]]
    """
    cues = np.zeros((num_classes, *size), bool)
    low = resize_map(background, size, 'bilinear')
    if len(labels):
        small = resize_map(np.asarray(scores, np.float32), size, 'bilinear')
        foreground = (small > fg_share * small.max(axis=(1, 2), keepdims=True)) & (small > 0)
        for k in np.argsort(-foreground.sum(axis=(1, 2)), kind='stable'):
            cues[:, foreground[k]] = False
            cues[int(labels[k]) + 1] = foreground[k]
    limit = np.quantile(low, bg_share) if bg_threshold is None else bg_threshold
    cues[0] = (low <= limit if bg_threshold is None else low < limit) & ~cues.any(axis=0)
    return cues
