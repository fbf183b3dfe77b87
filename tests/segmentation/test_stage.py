# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What all stages share: the figures of a confusion."""

from __future__ import annotations

import numpy as np

from mmentropy.segmentation.stage import iou_figures


def test_figures_of_a_stage():
    """Per cent, two digits; a class that occurs nowhere has none and is not in the mean."""
    counts = np.array([[2, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    assert iou_figures(counts) == {'mIoU': 66.67, 'IoU': [100.0, 50.0, 50.0, None]}
    assert iou_figures(np.zeros((2, 2), int)) == {'mIoU': None, 'IoU': [None, None]}
