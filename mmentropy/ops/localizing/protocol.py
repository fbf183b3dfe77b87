# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From a class map to boxes, hits and shares: the box half of the WSOL evaluation protocol (Choe et al., CVPR 2020)."""

from __future__ import annotations

import warnings
from functools import lru_cache

import cv2
import numpy as np

from mmentropy.ops.mapping.geometry import HALF_PIXEL, MapGrid

from .boxes import as_boxes, box_iou
from .component_tree import best_iou_by_level

CONTOURS = ('all', 'largest')
LOCALIZERS = ('cam', 'certainty', 'weight', 'cam*weight', 'relu*weight')
#: Names of version 0.1, which said neither which map of the entropy was meant nor that negative evidence is cut.
OLD_LOCALIZERS = {'entropy': 'certainty', 'cam*entropy': 'relu*weight'}


def current_localizer(name: str) -> str:
    """The name of a localizer today; an old name of :data:`OLD_LOCALIZERS` goes on working, with a warning.

    Raises:
        ValueError: for an unknown name.

    >>> current_localizer('weight')
    'weight'
    """
    if name in OLD_LOCALIZERS:
        new = OLD_LOCALIZERS[name]
        warnings.warn(f'localizer={name!r} is called {new!r} now: the same map', FutureWarning, stacklevel=3)
        return new
    if name not in LOCALIZERS:
        raise ValueError(f'localizer must be one of {LOCALIZERS}, got {name!r}')
    return name


def localization_map(
    cam: np.ndarray | None, entropy_map: np.ndarray | None = None, localizer: str = 'cam'
) -> np.ndarray:
    r"""The raw map that localises, from a class map :math:`M` and a location entropy map :math:`H` in nats.

    ================  =====================================================================================
    ``cam``           :math:`M`, as in the WSOL protocol: no bias, no ReLU
    ``certainty``     :math:`-H`: class-agnostic. A metric normalises each map, so that this is also
                      :math:`\log C - H`, and the weight of entropy pooling by ``kl`` or ``linear``
    ``weight``        :math:`e^{-H}`: class-agnostic; up to a factor an image, the weight :math:`w` of entropy
                      pooling by ``exp`` at T = 1. Ordered as ``certainty``, but another share of its maximum
    ``cam*weight``    :math:`M e^{-H}`: a location's term of the entropy-pooled logit, but for the bias
    ``relu*weight``   :math:`\max(M, 0)\, e^{-H}`: the same with negative evidence cut first
    ================  =====================================================================================

    Args:
        cam: (h, w) raw class map; not read by ``certainty`` and ``weight``.
        entropy_map: (h, w) in nats; not read by ``cam``.
        localizer: one of the above; ``entropy`` and ``cam*entropy`` are old names of ``certainty`` and ``relu*weight``.

    Returns:
        (h, w) float32, not normalised.

    Raises:
        ValueError: for an unknown localizer or a map that it needs and that is not there.

    >>> entropy_map = np.log([[1.0, 2.0]])
    >>> localization_map(np.array([[3.0, -1.0]]), entropy_map, 'cam*weight').tolist()
    [[3.0, -0.5]]
    """
    localizer = current_localizer(localizer)
    if cam is None and reads_class_map(localizer):
        raise ValueError(f'localizer={localizer!r} reads a class map, and there is none')
    if entropy_map is None and localizer != 'cam':
        raise ValueError(f'localizer={localizer!r} reads an entropy map, and the predictions have none')
    if localizer == 'cam':
        return np.asarray(cam, dtype=np.float32)
    certainty = -np.asarray(entropy_map, dtype=np.float32)
    if localizer == 'certainty':
        return certainty
    weight = np.exp(certainty)
    if localizer == 'weight':
        return weight
    cam = np.asarray(cam, dtype=np.float32)
    return (np.maximum(cam, 0) if localizer == 'relu*weight' else cam) * weight


def reads_class_map(localizer: str) -> bool:
    """Whether a localizer of :data:`LOCALIZERS` is class-specific.

    >>> reads_class_map('cam*weight'), reads_class_map('weight')
    (True, False)
    """
    return localizer not in ('certainty', 'weight')


def quantize_map(cam: np.ndarray) -> np.ndarray:
    """``uint8(255 * cam)``, truncated, of a map in [0, 1].

    Raises:
        ValueError: for NaN or a value outside [0, 1].

    >>> quantize_map(np.array([[0.0, 0.5, 1.0]])).tolist()
    [[0, 127, 255]]
    """
    cam = np.asarray(cam)
    if not (cam.min() >= 0 and cam.max() <= 1):  # also false for NaN
        raise ValueError(f'a score map must lie in [0, 1] without NaN, found {cam.min()} … {cam.max()}')
    return (255 * cam).astype(np.uint8)


#: Finer thresholds are beyond 8-bit maps by far, and beyond memory soon.
SMALLEST_INTERVAL = 1e-5


def thresholds_of(interval: float) -> np.ndarray:
    """The thresholds ``arange(0, 1, interval)`` of the protocol (interval 0.001).

    >>> thresholds_of(0.25).tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    if not SMALLEST_INTERVAL <= interval < 1:
        raise ValueError(f'the threshold interval must lie between {SMALLEST_INTERVAL} and 1, got {interval}')
    return np.arange(0, 1, interval)


def threshold_levels(thresholds: np.ndarray, top: int) -> np.ndarray:
    """``int(t * top)``: the grey level that pixels must exceed, for each threshold t, in a map whose maximum is top.

    >>> threshold_levels(np.array([0.0, 0.5]), top=201).tolist()
    [0, 100]
    """
    return (np.asarray(thresholds, dtype=np.float64) * int(top)).astype(np.int64)


def contour_boxes(img: np.ndarray, level: int, contours: str = 'all') -> np.ndarray:
    """The protocol's boxes of ``img > level``, by OpenCV.

    Args:
        img: (H, W) uint8.
        level: grey level that the foreground exceeds; ``threshold_levels`` makes it from a threshold.
        contours: ``all`` (V2: outer contours and holes) or ``largest`` (V1: of the contour with the largest polygon
            area, ``cv2.contourArea``; the first of equals).

    Returns:
        (n, 4) int64 boxes (x, y, min(x + w, W − 1), min(y + h, H − 1)); without a contour the one box (0, 0, 0, 0).

    >>> img = np.zeros((6, 6), np.uint8)
    >>> img[1:3, 1:5] = 9
    >>> contour_boxes(img, level=0).tolist()
    [[1, 1, 5, 3]]
    """
    if contours not in CONTOURS:
        raise ValueError(f'contours must be one of {CONTOURS}, got {contours!r}')
    outlines = cv2.findContours((img > level).astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[-2]
    if contours == 'largest' and outlines:
        outlines = [max(outlines, key=cv2.contourArea)]
    boxes = np.array([cv2.boundingRect(contour) for contour in outlines] or [(0, 0, 0, 0)], dtype=np.int64)
    if outlines:
        boxes[:, 2] = np.minimum(boxes[:, 0] + boxes[:, 2], img.shape[1] - 1)
        boxes[:, 3] = np.minimum(boxes[:, 1] + boxes[:, 3], img.shape[0] - 1)
    return boxes


@lru_cache(maxsize=16)
def _cuts(thresholds: bytes, top: int) -> tuple[np.ndarray, np.ndarray | None]:
    """How the grey values of maps with one maximum are cut; most maps of a set have the same, 255.

    Only the levels that a threshold cuts at count: a grey value is as good as how many of them lie below it.

    Args:
        thresholds: (T,) float64, as bytes.
        top: the maximum.

    Returns:
        (T,) which of the levels in use each threshold is; (256,) uint8 how many of them lie below each grey value, None
        where that is the grey value itself.
    """
    used, place = np.unique(threshold_levels(np.frombuffer(thresholds), top), return_inverse=True)
    below = np.searchsorted(used, np.arange(256)).astype(np.uint8)
    return place, None if (below[: top + 1] == np.arange(top + 1)).all() else below


def best_iou_by_threshold(
    img: np.ndarray, truths: np.ndarray, thresholds: np.ndarray, contours: str = 'all'
) -> np.ndarray:
    """The best IoU of the boxes with any ground truth, at each threshold.

    All contours go through the component tree, in one pass for all levels. The largest contour is chosen by its polygon
    area, which only the traced contour has: it is traced by OpenCV once for every distinct foreground.

    Args:
        img: (H, W) uint8.
        truths: (n, 4) integer boxes in pixels of the map, n ≥ 1.
        thresholds: (T,) in [0, 1].
        contours: see :func:`contour_boxes`.

    Returns:
        (T,) float64.

    >>> img = np.zeros((6, 6), np.uint8)
    >>> img[1:3, 1:5], img[1:3, 1:3] = 100, 200
    >>> best_iou_by_threshold(img, np.array([[1, 1, 3, 3]]), np.array([0.25, 0.75])).tolist()
    [0.6, 1.0]
    """
    if contours not in CONTOURS:
        raise ValueError(f'contours must be one of {CONTOURS}, got {contours!r}')
    if len(as_boxes(truths)) == 0:
        raise ValueError('an image without a ground-truth box cannot be evaluated for localisation')
    top = int(img.max())
    if contours == 'all':
        place, below = _cuts(np.asarray(thresholds, np.float64).tobytes(), top)
        return best_iou_by_level(img if below is None else cv2.LUT(img, below), truths)[place]
    levels = threshold_levels(thresholds, top)
    # foregrounds are nested: two levels with equally many pixels above them have the same one
    above = np.bincount(img.ravel(), minlength=257)[::-1].cumsum()[::-1][1:]
    best: dict[int, float] = {}
    for level in np.unique(levels):
        if above[level] not in best:
            best[above[level]] = box_iou(contour_boxes(img, level, 'largest'), truths).max()
    return np.array([best[above[level]] for level in levels])


def hits(best_iou: np.ndarray, iou_thrs: tuple[int, ...], strict: bool = False) -> np.ndarray:
    """(T, len(iou_thrs)) bool: whether the best IoU reaches each threshold δ in per cent (``strict``: exceeds it).

    >>> hits(np.array([0.5]), iou_thrs=(50, 70)).tolist(), hits(np.array([0.5]), iou_thrs=(50,), strict=True).tolist()
    ([[True, False]], [[False]])
    """
    best, limits = np.asarray(best_iou)[:, None], np.array(iou_thrs) / 100
    return best > limits if strict else best >= limits


def is_in_top(scores: np.ndarray, label: int, k: int) -> bool:
    """Whether fewer than k classes score above ``label``, ties going to the smaller class index.

    >>> scores = np.array([0.1, 0.7, 0.2])
    >>> is_in_top(scores, label=2, k=1), is_in_top(scores, label=2, k=2)
    (False, True)
    """
    scores = np.asarray(scores)
    if not 0 <= label < len(scores):
        raise ValueError(f'the label {label} does not lie within the {len(scores)} scores')
    ahead = (scores > scores[label]).sum() + (scores[:label] == scores[label]).sum()
    return bool(ahead < k)


def grid_pointing(
    cam: np.ndarray, tile: np.ndarray, image_size: tuple[int, int], grid: MapGrid | None = HALF_PIXEL
) -> float | None:
    r"""Share of the positive part of a raw map that falls into one tile of a mosaic.

    .. math:: \frac{\sum_{i} a_i \max(m_i, 0)}{\sum_i b_i \max(m_i, 0)}

    with :math:`b_i` the area of cell i in the image and :math:`a_i` that in the tile: a cell of the map stands for a
    rectangle of the image, as wide as the step of the grid and around its location, the outermost ones up to the border
    of the image; so no interpolation enters. Chance is the tile's share of the image.

    Args:
        cam: (h, w) raw class map at any resolution.
        tile: (4,) x0 y0 x1 y1, the tile of the map's class, in pixels of the mosaic; x1 and y1 are exclusive.
        image_size: (height, width) of the mosaic in pixels.
        grid: where the locations are, for an image of these proportions; without one the cells tile the mosaic.

    Returns:
        The share in [0, 1]; None for a map without a positive value.

    Raises:
        ValueError: for a map with NaN or infinite values, or an empty tile.

    >>> grid_pointing(np.array([[1.0, 3.0]]), tile=np.array([4, 0, 8, 4]), image_size=(4, 8))  # the right half
    0.75
    """
    positive = np.maximum(np.asarray(cam, dtype=np.float64), 0)
    total = positive.sum()
    if not np.isfinite(total):
        raise ValueError('a score map holds NaN or infinite values; every location needs a finite score')
    x0, y0, x1, y1 = np.asarray(tile, dtype=np.float64).reshape(4)
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f'the tile {(x0, y0, x1, y1)} is empty')
    if total == 0:
        return None
    size = (int(image_size[0]), int(image_size[1]))
    placed = None if grid is None or grid.is_half_pixel(positive.shape) else grid.before_resize(size)
    rows, columns = (_edges(positive.shape[axis], size[axis], placed, axis) for axis in (0, 1))
    if placed is None:  # cells of one size: their shares are enough
        down, across = _overlap(rows, y0, y1) / rows[1], _overlap(columns, x0, x1) / columns[1]
        return float(down @ positive @ across / total)
    mass = _overlap(rows, 0, size[0]) @ positive @ _overlap(columns, 0, size[1])
    # Locations that look outside the image have no cell in it.
    return float(_overlap(rows, y0, y1) @ positive @ _overlap(columns, x0, x1) / mass) if mass else None


def _edges(cells: int, length: int, grid: MapGrid | None, axis: int) -> np.ndarray:
    """(cells + 1,) where the cells of a map meet, in pixels from the border of an image; the outermost reach it."""
    if grid is None:
        return np.arange(cells + 1) * (length / cells)
    middles = grid.start[axis] + 0.5 + np.arange(cells) * grid.step[axis]
    return np.concatenate([[-np.inf], (middles[1:] + middles[:-1]) / 2, [np.inf]]).clip(0, length)


def _overlap(edges: np.ndarray, low: float, high: float) -> np.ndarray:
    """(cells,) length of each cell that lies within [low, high]."""
    shared = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    return np.clip(shared, 0, None)
