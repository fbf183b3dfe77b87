# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Localising maps, thresholds, top-k and grid pointing, against closed forms."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
import torch

from mmentropy.ops.certainty.entropy import entropy_weights
from mmentropy.ops.localizing.protocol import (
    best_iou_by_threshold,
    contour_boxes,
    current_localizer,
    grid_pointing,
    hits,
    is_in_top,
    localization_map,
    quantize_map,
    threshold_levels,
    thresholds_of,
)
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.scaling import draw_maps, normalize_map

CAM = np.array([[2.0, -1.0], [0.5, 0.0]])
ENTROPY = np.log([[1.0, 2.0], [4.0, 8.0]])


@pytest.mark.parametrize(
    ('localizer', 'expected'),
    [
        ('cam', CAM),
        ('certainty', -ENTROPY),
        ('weight', [[1, 0.5], [0.25, 0.125]]),
        ('cam*weight', [[2, -0.5], [0.125, 0]]),
        ('relu*weight', [[2, 0], [0.125, 0]]),
    ],
)
def test_localizers(localizer, expected):
    np.testing.assert_allclose(localization_map(CAM, ENTROPY, localizer), expected, rtol=1e-6)
    if localizer in ('certainty', 'weight'):
        np.testing.assert_allclose(localization_map(None, ENTROPY, localizer), expected, rtol=1e-6)


def test_weight_and_certainty_are_those_of_entropy_pooling():
    """After min-max, as metrics read them: each is the pooling weight of its own mapping, and the two differ."""
    entropy = np.random.default_rng(0).uniform(0, 5.2, (9, 9)).astype(np.float32)
    weights = {m: entropy_weights(torch.from_numpy(entropy), 200, m).numpy() for m in ('exp', 'kl', 'linear')}
    weight, certainty = (normalize_map(localization_map(None, entropy, name)) for name in ('weight', 'certainty'))
    np.testing.assert_allclose(weight, normalize_map(weights['exp']), atol=1e-5)
    for mapping in ('kl', 'linear'):
        np.testing.assert_allclose(certainty, normalize_map(weights[mapping]), atol=1e-5)
    assert ((weight > 0.2) & (certainty > 0.2)).sum() < 0.5 * (certainty > 0.2).sum()


@pytest.mark.parametrize(('old', 'new'), [('entropy', 'certainty'), ('cam*entropy', 'relu*weight')])
def test_old_names_go_on_working(old, new):
    with pytest.warns(FutureWarning, match=f"is called '{re.escape(new)}' now"):
        assert current_localizer(old) == new
    with pytest.warns(FutureWarning):
        found = localization_map(CAM, ENTROPY, old)
    np.testing.assert_array_equal(found, localization_map(CAM, ENTROPY, new))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((np.ones((2, 2)), None, 'grad'), 'localizer must be one of'),
        ((None, np.ones((2, 2)), 'cam'), 'reads a class map'),
        ((None, np.ones((2, 2)), 'cam*weight'), 'reads a class map'),
        ((np.ones((2, 2)), None, 'weight'), 'reads an entropy map'),
        ((np.ones((2, 2)), None, 'relu*weight'), 'reads an entropy map'),
    ],
)
def test_localizers_say_what_is_missing(arguments, message):
    with pytest.raises(ValueError, match=message):
        localization_map(*arguments)


def test_quantisation_truncates():
    assert quantize_map(np.float32([[0, 0.5, 0.9999, 1]])).tolist() == [[0, 127, 254, 255]]
    for bad in ([[np.nan, 0]], [[1.01, 0]], [[-0.01, 0]]):
        with pytest.raises(ValueError, match=r'must lie in \[0, 1\]'):
            quantize_map(np.float32(bad))


def test_thresholds_and_levels():
    thresholds = thresholds_of(0.001)
    assert len(thresholds) == 1000
    assert threshold_levels(thresholds, 255).tolist() == [int(t * 255) for t in thresholds]
    assert threshold_levels(thresholds, 255).max() == 254
    with pytest.raises(ValueError, match='interval'):
        thresholds_of(1.0)
    with pytest.raises(ValueError, match='between 1e-05 and 1, got 1e-09'):
        thresholds_of(1e-9)


def test_largest_contour_goes_by_polygon_area():
    """A thin ring encloses more than a solid block with more pixels."""
    img = np.zeros((40, 40), np.uint8)
    cv2.rectangle(img, (1, 1), (17, 17), 255, 1)  # 64 pixels, polygon area 16² = 256
    img[22:37, 22:37] = 255  # 225 pixels, polygon area 14² = 196
    assert contour_boxes(img, 0, 'largest').tolist() == [[1, 1, 18, 18]]
    assert sorted(contour_boxes(img, 0).tolist()) == [[1, 1, 18, 18], [1, 1, 18, 18], [22, 22, 37, 37]]
    assert contour_boxes(img, 255).tolist() == [[0, 0, 0, 0]]


def test_box_is_clipped_at_the_border_only():
    img = np.zeros((10, 10), np.uint8)
    img[4:, 2:] = 1
    assert contour_boxes(img, 0).tolist() == [[2, 4, 9, 9]]
    truths = np.array([[2, 4, 9, 9]])
    assert best_iou_by_threshold(img, truths, np.array([0.0, 0.5])).tolist() == [1.0, 1.0]


def test_wrong_options_are_named():
    img, truths = np.zeros((4, 4), np.uint8), np.zeros((1, 4), int)
    with pytest.raises(ValueError, match='contours must be one of'):
        best_iou_by_threshold(img, truths, np.zeros(1), 'biggest')
    with pytest.raises(ValueError, match='contours must be one of'):
        contour_boxes(img, 0, 'biggest')
    with pytest.raises(ValueError, match='without a ground-truth box'):
        best_iou_by_threshold(img, np.zeros((0, 4), int), np.zeros(1))


def test_hits_include_equality():
    assert hits(np.array([0.3, 0.5 - 1e-12, 0.7]), (30, 50, 70)).tolist() == [
        [True, False, False],
        [True, False, False],
        [True, True, True],
    ]


def test_top_k_with_ties():
    scores = np.array([0.1, 0.4, 0.4, 0.05, 0.05])
    assert [is_in_top(scores, label, 1) for label in range(5)] == [False, True, False, False, False]
    assert [is_in_top(scores, label, 4) for label in range(5)] == [True, True, True, True, False]
    order = np.argsort(-scores, kind='stable')
    for k in range(1, 6):
        assert [is_in_top(scores, label, k) for label in range(5)] == [label in order[:k] for label in range(5)]
    with pytest.raises(ValueError, match='label 5'):
        is_in_top(scores, 5, 1)


def test_grid_pointing_by_hand():
    cam = np.array([[4.0, -9.0], [1.0, 3.0]])
    assert grid_pointing(cam, (0, 0, 50, 50), (100, 100)) == pytest.approx(4 / 8)
    assert grid_pointing(cam, (50, 50, 100, 100), (100, 100)) == pytest.approx(3 / 8)
    assert grid_pointing(cam, (0, 0, 100, 100), (100, 100)) == pytest.approx(1)
    # a tile that cuts the left cells in half, in both rows
    assert grid_pointing(cam, (0, 0, 25, 100), (100, 100)) == pytest.approx(2.5 / 8)
    assert grid_pointing(-np.abs(cam), (0, 0, 50, 50), (100, 100)) is None


def test_grid_pointing_equals_summing_pixels():
    """Cells enlarged to pixels without interpolation, pixels counted."""
    cam = np.random.default_rng(0).normal(size=(5, 7))
    pixels = np.maximum(np.kron(cam, np.ones((12, 20))), 0)
    share = pixels[10:47, 33:101].sum() / pixels.sum()
    assert grid_pointing(cam, (33, 10, 101, 47), (60, 140)) == pytest.approx(share, rel=1e-12)


def test_grid_pointing_needs_finite_maps_and_a_tile():
    with pytest.raises(ValueError, match='NaN or infinite'):
        grid_pointing(np.array([[np.nan, 1.0]]), (0, 0, 1, 1), (2, 2))
    with pytest.raises(ValueError, match='empty'):
        grid_pointing(np.ones((2, 2)), (1, 0, 1, 1), (2, 2))


@pytest.mark.parametrize('grid', [MapGrid((0, 0), (12, 20), (60, 140)), MapGrid((6.5, 30), (10, 16), (30, 70))])
def test_grid_pointing_in_place_equals_summing_drawn_pixels(grid):
    """Drawn finely without interpolation, pixels counted: the outermost cells reach the border."""
    cam = np.random.default_rng(0).normal(size=(5, 7))
    fine = draw_maps(np.maximum(cam, 0), (60 * 16, 140 * 16), grid, 'nearest').astype(np.float64)
    share = fine[10 * 16 : 47 * 16, 33 * 16 : 101 * 16].sum() / fine.sum()
    assert grid_pointing(cam, (33, 10, 101, 47), (60, 140), grid) == pytest.approx(share, abs=2e-6)
    assert grid_pointing(cam, (33, 10, 101, 47), (60, 140)) != pytest.approx(share, abs=1e-3)


def test_grid_pointing_with_a_neutral_grid_is_that_without():
    cam, tile = np.random.default_rng(0).normal(size=(5, 7)), (33, 10, 101, 47)
    neutral = MapGrid.half_pixel((5, 7), (160, 224))
    assert grid_pointing(cam, tile, (60, 140), neutral) == grid_pointing(cam, tile, (60, 140))
