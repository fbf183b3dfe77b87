# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What is wrong with a localisation: seven kinds, from one box, the ground truths and the predicted class."""

from __future__ import annotations

import numpy as np

from .boxes import as_boxes, box_area, box_iou, intersection

#: In the order of the tables and plots: nothing wrong; the class alone; the box alone, in four ways; both.
KINDS = ('correct', 'wrong_class', 'part', 'more', 'several', 'elsewhere', 'wrong_class_and_box')
#: Object-size bins: the upper end (excluded) as a share of the image's area, and the name.
SIZE_BINS = ((0.1, '<10%'), (0.25, '10-25%'), (0.5, '25-50%'), (float('inf'), '>=50%'))


def localization_error(
    box: np.ndarray | None, truths: np.ndarray, class_right: bool = True, iou_thr: float = 0.5
) -> str:
    r"""The kind of a localisation: the one vocabulary of metric, tables and report.

    With I the intersection of the box P and a ground truth G, IoP = I / area(P) and IoG = I / area(G), the first that
    holds, the ground truth being the one with the largest IoU:

    =======================  =======================================================================================
    ``correct``              IoU ≥ δ, and the predicted class is the image's
    ``wrong_class``          IoU ≥ δ, but the class is wrong
    ``wrong_class_and_box``  both are wrong
    ``several``              IoG > 0.3 with two ground truths or more: one box over several instances
    ``part``                 IoP > 0.5, and not less than IoG: the box lies mostly within the object
    ``more``                 IoG > 0.7: the box covers the object and much else
    ``part``                 IoP > 0.5
    ``elsewhere``            anything else, and no box at all
    =======================  =======================================================================================

    So the classification error is the share of ``wrong_class`` and ``wrong_class_and_box`` together. The kinds of
    boxes and their limits follow the error analysis of DANet (Xue et al., ICCV 2019: multi-instance, part and more
    errors); the order, and that the larger of IoP and IoG decides where both hold, are ours: every image has one kind.

    Args:
        box: (4,) x0 y0 x1 y1 in pixels, both corners counted; None where the map gave none.
        truths: (n, 4) ground truths in the same pixels, n ≥ 1.
        class_right: whether the class is predicted right.
        iou_thr: δ in [0, 1].

    Returns:
        One of :data:`KINDS`.

    Raises:
        ValueError: without a ground truth, or for boxes of another shape.

    >>> truths = np.array([[20, 20, 59, 59]])
    >>> localization_error(np.array([25, 25, 44, 44]), truths)
    'part'
    >>> localization_error(np.array([25, 25, 44, 44]), truths, class_right=False)
    'wrong_class_and_box'
    """
    truths = as_boxes(truths)
    if len(truths) == 0:
        raise ValueError('an image without a ground-truth box cannot be evaluated for localisation')
    if box is None:
        return 'elsewhere' if class_right else 'wrong_class_and_box'
    box = np.reshape(box, (1, 4))
    iou = box_iou(box, truths)[0]
    if iou.max() >= iou_thr:
        return 'correct' if class_right else 'wrong_class'
    return _box_error(box, truths, int(iou.argmax())) if class_right else 'wrong_class_and_box'


def _box_error(box: np.ndarray, truths: np.ndarray, best: int) -> str:
    """The kind of a (1, 4) box that misses; ``best`` is the ground truth that it overlaps most."""
    shared = intersection(box, truths)[0]
    iog = shared / box_area(truths)
    if (iog > 0.3).sum() >= 2:
        return 'several'
    iop = shared[best] / box_area(box)[0]
    if iop > 0.5 and iop >= iog[best]:
        return 'part'
    if iog[best] > 0.7:
        return 'more'
    return 'part' if iop > 0.5 else 'elsewhere'


def object_share(truths: np.ndarray, size: tuple[int, int]) -> float:
    """Area of the largest ground truth as a share of the (height, width) image, at most 1.

    >>> object_share(np.array([[0, 0, 49, 99]]), (100, 100))
    0.5
    """
    return float(min(1.0, box_area(truths).max() / (size[0] * size[1])))


def size_bin(share: float) -> str:
    """Name of the object-size bin of a share.

    >>> size_bin(0.3)
    '25-50%'
    """
    return next(name for end, name in SIZE_BINS if share < end)
