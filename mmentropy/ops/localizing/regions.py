# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Which parts of an image a map, or one unit of it, looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .map_boxes import foreground_mask


def object_shares(cam: np.ndarray, boxes: np.ndarray, owners: np.ndarray, threshold: float = 0.5) -> dict[int, float]:
    r"""The share of a map's high region that lies in each object class, :math:`|R \cap \bigcup B| / |R|`.

    >>> object_shares(np.eye(4), np.array([[0, 0, 2, 2], [1, 1, 3, 3], [0, 2, 2, 4]]), np.array([7, 7, 5]))
    {5: 0.0, 7: 0.75}

    Args:
        cam: (H, W) map.
        boxes: (n, 4) x0 y0 x1 y1 in pixels of the map, edges (x1 one past the last column), rounded to whole pixels.
        owners: (n,) object classes of the boxes; the region is counted once where boxes of a class overlap.
        threshold: R holds the pixels above this share of the maximum, see
            :func:`~mmentropy.ops.localizing.map_boxes.foreground_mask`.

    Returns:
        object class -> share in [0, 1], for each class that has a box; zeros where nothing is above the threshold.
    """
    region = foreground_mask(cam, threshold)
    edges = np.asarray(boxes, dtype=np.float64).reshape(-1, 4).round().astype(int).clip(min=0)
    shares = {}
    for owner in np.unique(owners).tolist():
        inside = np.zeros_like(region)
        for x0, y0, x1, y1 in edges[np.asarray(owners) == owner]:
            inside[y0:y1, x0:x1] = True
        shares[owner] = float((region & inside).sum() / max(region.sum(), 1))
    return shares


@dataclass(frozen=True)
class Pattern:
    """How often an object class meets the high regions of a class's maps.

    Attributes:
        label: the object class.
        frequency: share of the class's images in which the object overlaps with the region.
        share: mean share of the region that lies in the object, over all of the class's images.
        images: how many of them hold the object.
    """

    label: int
    frequency: float
    share: float
    images: int


def rank_patterns(images: Sequence[Mapping[int, float]], min_share: float = 0.0) -> list[Pattern]:
    """The objects that overlap most frequently with a class's maps, as the CAM paper lists six (Zhou et al., 2016).

    >>> rank_patterns([{3: 0.1, 4: 0.9}, {3: 0.1}])
    [Pattern(label=3, frequency=1.0, share=0.1, images=2), Pattern(label=4, frequency=0.5, share=0.45, images=1)]

    Args:
        images: of each of the class's images the shares by :func:`object_shares`; a class that is not in it counts 0.
        min_share: an object overlaps when more than this share of the region lies in it; 0 asks for one pixel.

    Returns:
        most frequent first; equally frequent ones by their mean share, then by number.
    """
    held: dict[int, list[float]] = {}
    for shares in images:
        for owner, share in shares.items():
            held.setdefault(owner, []).append(share)
    count = len(images)
    rows = [
        Pattern(owner, sum(share > min_share for share in shares) / count, sum(shares) / count, len(shares))
        for owner, shares in held.items()
    ]
    return sorted(rows, key=lambda row: (-row.frequency, -row.share, row.label))


def rank_units(weight: np.ndarray, label: int, count: int) -> np.ndarray:
    """The units that speak most for a class: indices of the largest weights :math:`w_k^c`, largest first.

    Args:
        weight: (C, D) of the linear classifier.
        label: the class c.
        count: how many.

    >>> rank_units(np.array([[0.1, 0.9, 0.5]]), label=0, count=2).tolist()
    [1, 2]
    """
    if not 0 <= label < len(weight):
        raise ValueError(f'class {label} does not exist: the classifier has the classes 0 to {len(weight) - 1}')
    return np.argsort(-np.asarray(weight)[label], kind='stable')[:count]


def keep_best(scores: np.ndarray, items: list, new_scores: np.ndarray, new_items: list, count: int) -> tuple:
    """The ``count`` best of two lists, best first; equal scores keep their order.

    >>> scores, names = keep_best(np.array([0.9]), ['a'], np.array([0.5, 1.0]), ['b', 'c'], count=2)
    >>> scores.tolist(), names
    ([1.0, 0.9], ['c', 'a'])
    """
    together = np.concatenate([scores, new_scores])
    order = np.argsort(-together, kind='stable')[:count]
    both = [*items, *new_items]
    return together[order], [both[i] for i in order]
