# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Filled polygons against matplotlib's point test, pixel centre by pixel centre."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from mmentropy.ops.polygons import fill_polygon


@pytest.mark.parametrize('seed', range(6))
def test_every_pixel_centre(seed):
    rng = np.random.default_rng(seed)
    height, width = 17, 23
    around = np.sort(rng.uniform(0, 2 * np.pi, 3 + seed))
    radius = rng.uniform(3, 16, len(around))  # some points lie outside of the image
    points = np.stack([11 + radius * np.cos(around), 8 + radius * np.sin(around)], axis=1)
    y, x = np.mgrid[:height, :width] + 0.5
    want = Outline(np.vstack([points, points[:1]]), closed=True).contains_points(np.stack([x.ravel(), y.ravel()], 1))
    np.testing.assert_array_equal(fill_polygon(points, (height, width)), want.reshape(height, width))
    np.testing.assert_array_equal(fill_polygon(points[::-1].ravel().tolist(), (height, width)), want.reshape(17, 23))


def test_whole_pixels_tile_without_gap_or_overlap():
    left, right = fill_polygon([0, 0, 2.5, 0, 2.5, 3, 0, 3], (3, 5)), fill_polygon([2.5, 0, 5, 0, 5, 3, 2.5, 3], (3, 5))
    assert (left ^ right).all()
    assert left.sum() == 6  # the centre of column 2 lies on the common edge


def test_a_crossing_outline_leaves_its_middle_empty():
    """Two squares drawn in one go: where they overlap the count is even."""
    twice = [0, 0, 3, 0, 3, 3, 0, 3, 0, 0, 1, 1, 2, 1, 2, 2, 1, 2, 1, 1]
    assert fill_polygon(twice, (3, 3)).astype(int).tolist() == [[1, 1, 1], [1, 0, 1], [1, 1, 1]]


@pytest.mark.parametrize('points', [[0, 0, 1, 1], [0, 0, 1, 1, 2, 2, 3], [0, 0, 1, float('nan'), 2, 2]])
def test_what_is_no_polygon(points):
    with pytest.raises(ValueError, match='three or more points of two finite numbers'):
        fill_polygon(points, (4, 4))
