# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Kinds of errors, each with boxes drawn for it."""

from __future__ import annotations

import numpy as np
import pytest

from mmentropy.ops.localizing.errors import KINDS, localization_error, object_share, size_bin

OBJECT = [[20, 20, 59, 59]]  # 40 × 40 pixels
PAIR = [[0, 0, 19, 19], [30, 0, 49, 19]]


@pytest.mark.parametrize(
    ('box', 'truths', 'right', 'kind'),
    [
        ([20, 20, 59, 59], OBJECT, True, 'correct'),
        ([20, 20, 59, 59], OBJECT, False, 'wrong_class'),
        ([0, 0, 9, 9], OBJECT, False, 'wrong_class_and_box'),
        ([25, 25, 44, 44], OBJECT, False, 'wrong_class_and_box'),
        (None, OBJECT, True, 'elsewhere'),
        (None, OBJECT, False, 'wrong_class_and_box'),
        ([25, 25, 44, 44], OBJECT, True, 'part'),  # within: IoP 1, IoG 0.25
        ([10, 10, 70, 70], OBJECT, True, 'more'),  # around: IoP 0.43, IoG 1
        ([0, 0, 99, 99], OBJECT, True, 'more'),
        ([0, 0, 9, 9], OBJECT, True, 'elsewhere'),
        ([50, 20, 89, 59], OBJECT, True, 'elsewhere'),  # a quarter of both
        ([0, 0, 49, 19], PAIR, True, 'several'),
        ([0, 0, 19, 19], PAIR, True, 'correct'),
        # both limits hold: IoP 0.52, IoG 0.88 (IoU 0.49), then the larger decides
        ([20, 20, 54, 86], [[20, 20, 59, 54]], True, 'more'),
        ([20, 20, 54, 54], [[20, 20, 54, 86]], True, 'correct'),
        # mostly within the object, IoP 0.71 and IoG 0.55; then IoP 0.53 and IoG 0.58
        ([20, 20, 59, 53], [[20, 30, 59, 73]], True, 'part'),
        ([20, 20, 59, 59], [[20, 39, 59, 74]], True, 'part'),
    ],
)
def test_kinds(box, truths, right, kind):
    assert kind in KINDS
    assert localization_error(None if box is None else np.array(box), np.array(truths), right) == kind


def kind_by_pixels(box: np.ndarray, truths: np.ndarray, class_right: bool) -> str:
    """The table of the docstring, on drawn boxes."""
    drawn = []
    for x0, y0, x1, y1 in [box, *truths]:
        drawn.append(np.zeros((40, 40), bool))
        drawn[-1][y0 : y1 + 1, x0 : x1 + 1] = True
    p, gs = drawn[0], drawn[1:]
    ious = [(p & g).sum() / (p | g).sum() for g in gs]
    g = gs[int(np.argmax(ious))]
    iop, iog = (p & g).sum() / p.sum(), (p & g).sum() / g.sum()
    rows = [
        ('correct', max(ious) >= 0.5 and class_right),
        ('wrong_class', max(ious) >= 0.5),
        ('wrong_class_and_box', not class_right),
        ('several', sum((p & g).sum() / g.sum() > 0.3 for g in gs) >= 2),
        ('part', iop > 0.5 and iop >= iog),
        ('more', iog > 0.7),
        ('part', iop > 0.5),
        ('elsewhere', True),
    ]
    return next(kind for kind, holds in rows if holds)


def test_random_boxes_against_drawn_ones():
    rng = np.random.default_rng(0)
    seen = set()
    for i in range(1500):
        corners = rng.integers(0, 40, (int(rng.integers(2, 4)), 2, 2))
        box, *truths = np.concatenate([corners.min(1), corners.max(1)], axis=1)
        kind = localization_error(box, np.array(truths), i % 4 > 0)
        assert kind == kind_by_pixels(box, truths, i % 4 > 0)
        seen.add(kind)
    assert seen == set(KINDS)


def test_iou_threshold_decides_what_is_correct():
    box, truths = np.array([10, 10, 70, 70]), np.array(OBJECT)  # IoU 0.43
    assert localization_error(box, truths, iou_thr=0.3) == 'correct'
    assert localization_error(box, truths, iou_thr=0.5) == 'more'


def test_no_truth_is_named():
    with pytest.raises(ValueError, match='without a ground-truth box'):
        localization_error(np.zeros(4), np.zeros((0, 4)))


def test_sizes():
    assert object_share(np.array([[0, 0, 9, 9], [0, 0, 49, 49]]), (100, 100)) == pytest.approx(0.25)
    assert object_share(np.array([[0, 0, 100, 100]]), (100, 100)) == 1.0
    assert [size_bin(s) for s in (0, 0.0999, 0.1, 0.25, 0.5, 1)] == [
        '<10%',
        '<10%',
        '10-25%',
        '25-50%',
        '>=50%',
        '>=50%',
    ]
