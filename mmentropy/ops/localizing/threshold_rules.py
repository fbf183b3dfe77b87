# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Thresholds that a map chooses for itself, without boxes: its own mean, the area of its entropy, Otsu's.

Every rule takes one map as it is drawn, and returns a share *t* of its maximum: the foreground are the pixels with
:math:`m_i > t \cdot \max m`, as in :func:`mmentropy.ops.localizing.map_boxes.foreground_mask`. Negative values count as
0, and the maps are those of a reading that cuts negative evidence
(:class:`mmentropy.ops.mapping.reading.Reading`), or min-max normalised ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

#: The rule that stands for ``auto``.
AUTO_RULE = 'entropy_area'
#: Grey levels of Otsu's histogram.
OTSU_LEVELS = 256


def entropy_area(cam: np.ndarray, share: float = 1.6, order: float = math.inf) -> float:
    r"""The threshold above which lie :math:`\kappa\, e^{H_\alpha(q)}` pixels, :math:`q = m / \sum m`.

    :math:`H_\alpha` is Rényi's entropy of the map as a distribution over its pixels, :math:`H_\alpha = \frac{1}{1 -
    \alpha} \log \sum_i q_i^\alpha`, so that :math:`e^{H_\alpha}` is the number of pixels over which the map spreads:
    for :math:`\alpha = 1` (Shannon) :math:`e^{-\sum q \log q}`, for :math:`\alpha = \infty` :math:`\sum m / \max m`,
    the area of a flat block of the map's height and mass. A block is found whole, and a map that shows a small spot
    gets a small box.

    Args:
        cam: (H, W) map, any float type.
        share: κ > 0. 1.6 goes with α = ∞; 0.65 with α = 2 and 0.4 with α = 1 come next.
        order: α ≥ 0; large α do not see faint tails.

    Returns:
        t in [0, 1), a share of the map's maximum. Where many pixels share the value at which the area would end, they
        are background, but for the map's maximum, which never is; 0 where nothing is positive.

    Raises:
        ValueError: for another number of axes, NaN or infinity in the map, or a share or an order that is not allowed.

    Source: Rényi, "On measures of entropy and information" (1961), for :math:`H_\alpha`; the rule is this package's,
    with figures in docs/concepts/thresholds.md.

    >>> ramp = np.array([[4.0, 3.0, 2.0, 1.0, 0.0]])
    >>> entropy_area(ramp, share=0.8)  # 0.8 · 10 / 4 = 2 pixels: those above 2 / 4
    0.5
    """
    if not (0 < share < math.inf and order >= 0):
        raise ValueError(f'entropy_area takes a share above 0 and an order of 0 or more, got {share} and {order}')
    values = _positive_part(cam)
    if values is None:
        return 0.0
    count = round(share * effective_area(values, order))
    if count >= values.size:
        return 0.0
    at = values.size - 1 - count  # of the ascending values, so that `count` of them lie behind it
    level = float(np.partition(values, at)[at])
    if level == 1.0:
        level = float(values[values < 1].max(initial=0.0))
    return level


def effective_area(cam: np.ndarray, order: float = math.inf) -> float:
    r"""Over how many pixels a map spreads, :math:`e^{H_\alpha(m / \sum m)}`; see :func:`entropy_area`.

    Args:
        cam: map without negative values, any shape; not all zero.
        order: α ≥ 0 of Rényi's entropy: 0 counts the pixels above zero, 1 is Shannon's, ∞ gives Σm / max m.

    Returns:
        between 1 and the number of pixels.

    >>> block = np.array([2.0, 2.0, 0.0])
    >>> [round(effective_area(block, order), 6) for order in (0, 1, 2, np.inf)]
    [2.0, 2.0, 2.0, 2.0]
    """
    q = np.asarray(cam, dtype=np.float64).ravel()
    q = q[q > 0] / q.sum()
    if order == math.inf:
        return float(1 / q.max())
    if order == 1:
        return float(np.exp(-(q * np.log(q)).sum()))
    # The largest share stands before the sum, which would underflow for large orders.
    log_sum = order * np.log(q.max()) + np.log(((q / q.max()) ** order).sum())
    return float(np.exp(log_sum / (1 - order)))


def mean_share(cam: np.ndarray, share: float = 1.0) -> float:
    r"""A multiple of the map's own mean: :math:`t = \kappa \cdot \mathrm{mean}(m) / \max m`, below 1.

    Args:
        cam: (H, W) map, any float type.
        share: κ > 0.

    Returns:
        t in [0, 1), a share of the map's maximum; 0 where nothing is positive.

    Raises:
        ValueError: for another number of axes, NaN or infinity in the map, or a share that is not positive.

    >>> mean_share(np.array([[4.0, 3.0, 2.0, 1.0, 0.0]]))
    0.5
    """
    if not 0 < share < math.inf:
        raise ValueError(f'mean_share takes a share above 0, got {share}')
    values = _positive_part(cam)
    return 0.0 if values is None else min(share * float(values.mean()), math.nextafter(1.0, 0.0))


def otsu(cam: np.ndarray) -> float:
    r"""Otsu's threshold: of all thresholds, the one that sets the means on both its sides furthest apart.

    :math:`t = \arg\max_t\, \omega_0 \omega_1 (\mu_1 - \mu_0)^2` over a histogram of 256 grey levels, ω the shares of
    the pixels on both sides and μ their mean values; the lowest of equals.

    Args:
        cam: (H, W) map, any float type.

    Returns:
        t in [0, 1), a share of the map's maximum; 0 where nothing is positive.

    Raises:
        ValueError: for another number of axes, or NaN or infinity in the map.

    Source: Otsu, "A threshold selection method from gray-level histograms" (1979).

    >>> otsu(np.array([[1.0, 1.0, 9.0, 10.0]])) < 0.9
    True
    """
    values = _positive_part(cam)
    if values is None:
        return 0.0
    top = OTSU_LEVELS - 1
    counts = np.bincount((values * top).astype(np.int64), minlength=OTSU_LEVELS) / values.size
    below, moment = counts.cumsum()[:-1], (counts * np.arange(OTSU_LEVELS)).cumsum()
    with np.errstate(divide='ignore', invalid='ignore'):
        between = (moment[-1] * below - moment[:-1]) ** 2 / (below * (1 - below))
    level = int(np.where(below * (1 - below) > 0, between, 0).argmax())
    # Level L holds the values of [L, L + 1) / 255; the float below the next level's first value ends it.
    return math.nextafter((level + 1) / top, 0.0)


THRESHOLD_RULES: dict[str, Callable[[np.ndarray], float]] = {
    'entropy_area': entropy_area,
    'mean_share': mean_share,
    'otsu': otsu,
}


def own_threshold(cam: np.ndarray, rule: str = 'auto') -> float:
    """The threshold of one map by a rule's name.

    Args:
        cam: (H, W) map, any float type.
        rule: ``entropy_area``, ``mean_share``, ``otsu``, or ``auto``, which is :data:`AUTO_RULE`.

    Returns:
        t in [0, 1), a share of the map's maximum.

    Raises:
        ValueError: for another rule, or a map that the rule refuses.

    >>> own_threshold(np.array([[4.0, 3.0, 2.0, 1.0, 0.0]]), 'mean_share')
    0.5
    """
    return threshold_rule(rule)(cam)


def threshold_rule(name: str) -> Callable[[np.ndarray], float]:
    """The function behind a rule's name, ``auto`` included.

    Raises:
        ValueError: for another name.

    >>> threshold_rule('auto') is entropy_area
    True
    """
    if name == 'auto':
        name = AUTO_RULE
    if name not in THRESHOLD_RULES:
        raise ValueError(f"a threshold's rule is one of {['auto', *THRESHOLD_RULES]}, got {name!r}")
    return THRESHOLD_RULES[name]


def _positive_part(cam: np.ndarray) -> np.ndarray | None:
    """All values of a map as shares of its maximum, negative ones 0; None where nothing is positive."""
    cam = np.asarray(cam)
    if cam.ndim != 2:
        raise ValueError(f'a map has two axes (H, W), got shape {cam.shape}; pass one map at a time')
    if not np.isfinite(cam).all():
        raise ValueError('a map must be finite to choose its threshold, found NaN or infinity')
    top = cam.max(initial=0)
    # Double precision, and the division before the cut, so that the map's maximum becomes exactly 1.
    return np.maximum(cam.ravel() / np.float64(top), 0) if top > 0 else None
