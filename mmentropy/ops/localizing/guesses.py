# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Five guesses from class maps, as the CAM paper enters ILSVRC's localisation task (top-5 error)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmentropy.ops.mapping.geometry import HALF_PIXEL, MapGrid
from mmentropy.ops.mapping.scaling import upsample_map

from .boxes import box_iou
from .map_boxes import boxes_from_map

#: Which boxes are guessed for the best classes in turn. ``top5``: one for each of five classes. ``tight_loose``: the
#: paper's heuristic, a tight and a loose box for the first two classes and a loose one for the third.
STRATEGIES = {
    'top5': (('loose',), ('loose',), ('loose',), ('loose',), ('loose',)),
    'tight_loose': (('tight', 'loose'), ('tight', 'loose'), ('loose',)),
}


def guesses(
    cams: np.ndarray,
    labels: Sequence[int],
    strategy: str = 'tight_loose',
    size: tuple[int, int] = (224, 224),
    loose: float = 0.2,
    tight: float = 0.5,
    interpolation: str = 'cubic',
    normalize: str = 'max',
    grid: MapGrid | None = HALF_PIXEL,
) -> tuple[np.ndarray, np.ndarray]:
    """At most five (class, box) guesses from the maps of the best classes.

    A box is the tight one around the largest component above a share of the map's maximum. The paper gives that share
    for one box a class (0.2, here ``loose``); what *tight* means it does not say, so ``tight`` is an option, not a
    claim.

    Args:
        cams: (K, h, w) raw maps of the best classes, best first; missing ones leave their guesses out.
        labels: (K,) their classes.
        strategy: one of :data:`STRATEGIES`.
        size: (height, width) in pixels at which boxes are drawn.
        loose, tight: shares of the maximum in [0, 1), loose below tight.
        interpolation: see :func:`mmentropy.ops.mapping.scaling.resize_map`.
        normalize: ``max`` for shares of the map's maximum, as the paper says; ``minmax`` for heights between the map's
            minimum and maximum, see :func:`mmentropy.ops.mapping.scaling.normalize_map`.
        grid: where the maps' locations look, see :func:`mmentropy.ops.mapping.scaling.draw_maps`.

    Returns:
        (g,) int64 classes and (g, 4) float32 boxes x0 y0 x1 y1 with both corners inside (x1 is the last column); a map
        without foreground gives no guess.

    >>> cam = np.zeros((4, 4))
    >>> cam[:2, :2] = 1.0
    >>> labels, boxes = guesses(cam[None], labels=[7], strategy='top5', size=(4, 4))
    >>> labels.tolist(), boxes.tolist()
    ([7], [[0.0, 0.0, 1.0, 1.0]])
    """
    if strategy not in STRATEGIES:
        raise ValueError(f'box_strategy must be one of {sorted(STRATEGIES)}, got {strategy!r}')
    if not 0 <= loose < tight < 1:
        raise ValueError(f'the loose threshold lies below the tight one, in [0, 1): got loose {loose}, tight {tight}')
    if len(cams) != len(labels):
        raise ValueError(f'{len(cams)} maps came with {len(labels)} labels; each map has one class')
    shares = {'loose': loose, 'tight': tight}
    classes, boxes = [], []
    for cam, label, kinds in zip(cams, labels, STRATEGIES[strategy]):
        cam = upsample_map(cam, size, interpolation, normalize, grid)
        for kind in kinds:
            box = boxes_from_map(cam, shares[kind])
            if len(box):
                classes.append(int(label))
                boxes.append(box[0] - (0, 0, 1, 1))
    return np.array(classes, np.int64), np.array(boxes, np.float32).reshape(-1, 4)


def any_right(labels: np.ndarray, boxes: np.ndarray, label: int, truths: np.ndarray, iou_thr: float = 0.5) -> bool:
    """Whether a guess has the right class and reaches the IoU with one of its true boxes (n, 4), corners inside.

    >>> any_right(np.array([7, 3]), np.array([[0, 0, 9, 9], [0, 0, 2, 2]]), label=7, truths=np.array([[0, 0, 9, 7]]))
    True
    """
    mine = boxes[np.asarray(labels) == label]
    return bool(len(mine) and len(truths) and (box_iou(mine, truths) >= iou_thr).any())
