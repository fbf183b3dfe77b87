# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import numpy as np
import pytest

from mmentropy.ops.localizing.regions import keep_best, rank_units, region_shares


def test_shares_by_counting_pixels():
    rng = np.random.default_rng(0)
    cam = rng.random((13, 17))
    boxes = np.array([[0, 0, 17, 13], [3, 2, 9, 11], [-4, -4, 5, 5], [10, 10, 40, 40], [5, 5, 5, 9], [30, 0, 40, 5]])
    region = cam > 0.5 * cam.max()
    expected = [
        region[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)].sum() / region.sum() for x0, y0, x1, y1 in boxes
    ]
    np.testing.assert_allclose(region_shares(cam, boxes), expected)
    assert expected[0] == 1
    assert region_shares(np.zeros((4, 4)), boxes).tolist() == [0] * 6


def test_units_of_a_class_by_weight():
    weight = np.array([[0.1, 0.9, -2, 0.9], [1, 2, 3, 4]])
    assert rank_units(weight, 0, 3).tolist() == [1, 3, 0]
    with pytest.raises(ValueError, match='class 2 does not exist'):
        rank_units(weight, 2, 1)


def test_keep_best_is_sorting_everything():
    rng = np.random.default_rng(1)
    scores, items = np.zeros(0), []
    everything = []
    for _ in range(5):
        new = rng.integers(0, 6, 4).astype(float)
        names = [f'{len(everything) + i}' for i in range(4)]
        everything += list(zip(new, names))
        scores, items = keep_best(scores, items, new, names, 7)
    expected = sorted(everything, key=lambda pair: -pair[0])[:7]
    assert items == [name for _, name in expected]
    assert scores.tolist() == [score for score, _ in expected]
