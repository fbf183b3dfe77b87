# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What is wrong with a localisation: six kinds, from the overlaps of one box with the ground truths."""

from __future__ import annotations

import numpy as np

from .boxes import as_boxes, box_area, box_iou, intersection

#: In the order of the tables and plots.
KINDS = ('correct', 'wrong_class', 'part', 'more', 'several', 'elsewhere')
#: Object-size bins: the upper end (excluded) as a share of the image's area, and the name.
SIZE_BINS = ((0.1, '<10%'), (0.25, '10-25%'), (0.5, '25-50%'), (float('inf'), '>=50%'))


def localization_error(box: np.ndarray, truths: np.ndarray, class_right: bool = True, iou_thr: float = 0.5) -> str:
    r"""The kind of a localisation.

    With I the intersection of the box P and a ground truth G, IoP = I / area(P) and IoG = I / area(G), the first that
    holds, the ground truth being the one with the largest IoU:

    ================  ==============================================================================================
    ``wrong_class``   the predicted class is not the image's
    ``correct``       IoU ≥ δ
    ``several``       IoG > 0.3 with two ground truths or more: one box over several instances
    ``part``          IoP > 0.5, and not less than IoG: the box lies mostly within the object
    ``more``          IoG > 0.7: the box covers the object and much else
    ``part``          IoP > 0.5
    ``elsewhere``     anything else
    ================  ==============================================================================================

    The kinds and their limits follow the error analysis of DANet (Xue et al., ICCV 2019: multi-instance, part and more
    errors); the order, and that the larger of IoP and IoG decides where both hold, are ours: every image has one kind.

    Args:
        box: (4,) x0 y0 x1 y1 in pixels.
        truths: (n, 4) ground truths in the same pixels, n ≥ 1.
        class_right: whether the class is predicted right.
        iou_thr: δ in [0, 1].

    Returns:
        One of :data:`KINDS`.
    """
    truths = as_boxes(truths)
    if len(truths) == 0:
        raise ValueError('an image without a ground-truth box cannot be evaluated for localisation')
    if not class_right:
        return 'wrong_class'
    box = np.asarray(box).reshape(1, 4)
    iou = box_iou(box, truths)[0]
    if iou.max() >= iou_thr:
        return 'correct'
    shared = intersection(box, truths)[0]
    iog = shared / box_area(truths)
    if (iog > 0.3).sum() >= 2:
        return 'several'
    best = int(iou.argmax())
    iop = shared[best] / box_area(box)[0]
    if iop > 0.5 and iop >= iog[best]:
        return 'part'
    if iog[best] > 0.7:
        return 'more'
    return 'part' if iop > 0.5 else 'elsewhere'


def object_share(truths: np.ndarray, size: tuple[int, int]) -> float:
    """Area of the largest ground truth as a share of the (height, width) image, at most 1."""
    return float(min(1.0, box_area(truths).max() / (size[0] * size[1])))


def size_bin(share: float) -> str:
    """Name of the object-size bin of a share."""
    return next(name for end, name in SIZE_BINS if share < end)
