# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What kind of mistake a predicted box is."""

from __future__ import annotations

import numpy as np

from .boxes import box_area, box_iou, intersection

#: In this order: nothing wrong; the class alone; the box alone, in three ways; both.
ERROR_TYPES = ('right', 'wrong class', 'box too small', 'box too large', 'box misplaced', 'class and box wrong')


def error_type(box: np.ndarray | None, truths: np.ndarray, class_right: bool, iou_thr: float = 0.5) -> str:
    """The kind of mistake, one of :data:`ERROR_TYPES`.

    A box that misses is *too small* when 70 % of it lies in the true box that it fits best (a part was found), *too
    large* when it covers 70 % of that one (context, or several objects), and *misplaced* otherwise, as when there is
    none.

    Args:
        box: (4,) x0 y0 x1 y1 in pixels; None where the map gave none.
        truths: (n, 4) true boxes, n ≥ 1.
        class_right: whether the predicted class is right.
        iou_thr: what counts as found.
    """
    if box is None:
        return 'box misplaced' if class_right else 'class and box wrong'
    iou = box_iou(box[None], truths)[0]
    best = int(iou.argmax())
    if iou[best] >= iou_thr:
        return 'right' if class_right else 'wrong class'
    if not class_right:
        return 'class and box wrong'
    shared = intersection(box[None], truths[best : best + 1])[0, 0]
    if shared >= 0.7 * box_area(box[None])[0]:
        return 'box too small'
    return 'box too large' if shared >= 0.7 * box_area(truths[best : best + 1])[0] else 'box misplaced'
