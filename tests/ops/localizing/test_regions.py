# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import numpy as np
import pytest

from mmentropy.ops.localizing.regions import Pattern, keep_best, object_shares, rank_patterns, rank_units


def test_shares_by_counting_pixels():
    rng = np.random.default_rng(0)
    cam = rng.random((13, 17))
    boxes = np.array([[0, 0, 17, 13], [3, 2, 9, 11], [-4, -4, 5, 5], [10, 10, 40, 40], [5, 5, 5, 9], [30, 0, 40, 5]])
    owners = np.array([0, 1, 1, 2, 3, 4])
    region = cam > 0.5 * cam.max()
    expected = dict.fromkeys(range(5), 0)
    for y, x in np.argwhere(region):
        inside = {owner for owner, (x0, y0, x1, y1) in zip(owners, boxes) if x0 <= x < x1 and y0 <= y < y1}
        expected = {owner: count + (owner in inside) for owner, count in expected.items()}
    assert expected[0] == region.sum()
    assert expected[1] > 0
    assert expected[3] == expected[4] == 0
    found = object_shares(cam, boxes, owners)
    assert found == {owner: pytest.approx(count / region.sum()) for owner, count in expected.items()}
    assert object_shares(np.zeros((4, 4)), boxes, owners) == dict.fromkeys(range(5), 0)
    assert object_shares(cam, boxes[:0], owners[:0]) == {}


def test_an_object_in_every_image_ranks_above_one_that_fills_the_region_in_three_of_ten():
    """By mean share the second one would lead, 0.27 to 0.05: the paper counts how often."""
    images = [{0: 0.05, 1: 0.9} if i < 3 else {0: 0.05} for i in range(10)]
    assert rank_patterns(images) == [
        Pattern(0, 1.0, pytest.approx(0.05), 10),
        Pattern(1, pytest.approx(0.3), pytest.approx(0.27), 3),
    ]
    assert [row.label for row in rank_patterns(images, min_share=0.1)] == [1, 0]


def test_ranking_of_ties_and_of_objects_beside_the_region():
    images = [{5: 0.0, 2: 0.5, 9: 0.2, 4: 0.2}, {5: 0.0}]
    assert [(row.label, row.frequency, row.images) for row in rank_patterns(images)] == [
        (2, 0.5, 1),
        (4, 0.5, 1),
        (9, 0.5, 1),
        (5, 0.0, 2),
    ]
    assert rank_patterns([]) == []


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
