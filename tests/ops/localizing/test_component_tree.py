# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The component tree against OpenCV's traced contours, level by level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsol_brute_force import KINDS, iou, iou_by_threshold, make_map, traced_boxes

from mmentropy.ops.localizing.component_tree import best_iou_by_level, level_boxes
from mmentropy.ops.localizing.protocol import best_iou_by_threshold, quantize_map, thresholds_of

SIDES = st.integers(1, 22)


def boxes_at(boxes: np.ndarray, level: int) -> list[tuple[int, ...]]:
    standing = boxes[(boxes[:, 4] <= level) & (level <= boxes[:, 5]), :4]
    return sorted(map(tuple, standing.tolist()))


def assert_equals_contours(img: np.ndarray, levels: np.ndarray | None = None) -> None:
    """At the given levels, or at both ends of every run of levels over which the foreground stays the same."""
    if levels is None:
        values = np.unique(img).astype(int)
        levels = np.unique(np.concatenate([values - 1, values]).clip(0, max(values[-1] - 1, 0)))
    boxes, _ = level_boxes(img)
    for level in levels:
        assert boxes_at(boxes, level) == traced_boxes(img, level), f'level {level} of {img.shape}'


@settings(max_examples=1600, deadline=None, derandomize=True)
@given(kind=st.sampled_from(KINDS), height=SIDES, width=SIDES, seed=st.integers(0, 2**32 - 1))
def test_boxes_of_all_levels_are_the_contours_boxes(kind, height, width, seed):
    img = quantize_map(make_map(kind, height, width, seed))
    assert_equals_contours(img)


@settings(max_examples=800, deadline=None, derandomize=True)
@given(st.data())
def test_boxes_of_free_maps(data):
    """Small maps that hypothesis draws pixel by pixel, so that a failure shrinks to its core."""
    height, width = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    grey = st.sampled_from([0, 1, 2, 127, 128, 254, 255])
    img = np.array(data.draw(st.lists(grey, min_size=height * width, max_size=height * width)), np.uint8)
    assert_equals_contours(img.reshape(height, width))


@pytest.mark.parametrize(('kind', 'seed'), [('smooth', 0), ('rough', 1), ('rough', 2), ('noisy', 3)])
def test_boxes_at_the_protocols_size(kind, seed):
    img = quantize_map(make_map(kind, 224, 224, seed))
    assert_equals_contours(img, np.arange(seed, 255, 11))


def test_holes_count_and_are_grown_by_one_pixel():
    img = np.zeros((9, 9), np.uint8)
    img[1:8, 1:8] = 200
    img[3:5, 3:6] = 50
    boxes, outer = level_boxes(img)
    assert boxes[:outer].tolist() == [[1, 1, 7, 7, 0, 199]]  # the dip appears only above its own grey value
    assert boxes[outer:].tolist() == [[2, 2, 6, 5, 50, 199]]


def test_a_background_that_touches_the_frame_is_no_hole():
    img = np.full((5, 5), 9, np.uint8)
    img[2, 2:] = 0
    boxes, outer = level_boxes(img)
    assert boxes.tolist() == [[0, 0, 4, 4, 0, 8]]
    assert outer == 1


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(KINDS),
    height=SIDES,
    width=SIDES,
    seed=st.integers(0, 2**32 - 1),
    number=st.integers(1, 4),
    contours=st.sampled_from(['all', 'largest']),
    gain=st.sampled_from([1.0, 0.6, 0.01]),
)
def test_best_iou_is_the_brute_forces(kind, height, width, seed, number, contours, gain):
    """Exactly equal, as floats: hits at any δ are then the same. A gain below 1 leaves a map that does not reach 1."""
    rng = np.random.default_rng(seed)
    cam = np.float32(gain) * make_map(kind, height, width, seed)
    corners = rng.integers(0, [width, height], (number, 2, 2))
    truths = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    thresholds = thresholds_of(0.013)
    best = best_iou_by_threshold(quantize_map(cam), truths, thresholds, contours)
    assert best.tolist() == iou_by_threshold(cam, truths.tolist(), thresholds, contours)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32 - 1),
    thresholds=st.lists(st.floats(0, 1), min_size=1, max_size=6),
)
def test_few_thresholds_in_any_order(kind, seed, thresholds):
    """Levels that none of them cuts at are left out; one may be asked for twice, and 1 has no contour."""
    cam = make_map(kind, 12, 17, seed)
    best = best_iou_by_threshold(quantize_map(cam), np.array([[2, 3, 9, 8]]), np.array([*thresholds, 1.0, 0.0, 0.5]))
    assert best.tolist() == iou_by_threshold(cam, [(2, 3, 9, 8)], [*thresholds, 1.0, 0.0, 0.5])


@pytest.mark.parametrize('shape', [(2, 40_001), (40_001, 2)])
def test_boxes_of_long_maps(shape):
    """A pixel's row and column are taken from its number, without a division."""
    img = np.random.default_rng(0).integers(0, 4, shape).astype(np.uint8)
    assert_equals_contours(img)


@pytest.mark.parametrize('contours', ['all', 'largest'])
def test_best_iou_at_the_protocols_thousand_thresholds(contours):
    cam = make_map('rough', 224, 224, 5)
    truths = np.array([[30, 40, 150, 180], [100, 0, 223, 90]])
    best = best_iou_by_threshold(quantize_map(cam), truths, thresholds_of(0.001), contours)
    assert best.shape == (1000,)
    assert best.tolist() == iou_by_threshold(cam, truths.tolist(), thresholds_of(0.001), contours)


def test_constant_map_has_the_box_of_no_contour():
    best = best_iou_by_level(np.zeros((8, 8), np.uint8), np.array([[0, 0, 1, 1]]))
    assert best.tolist() == [iou((0, 0, 0, 0), (0, 0, 1, 1))] == [0.25]


@pytest.mark.parametrize(
    ('img', 'truths'),
    [
        (np.zeros((4, 4), np.float32), np.zeros((1, 4), int)),
        (np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4), int)),
        (np.zeros((0, 4), np.uint8), np.zeros((1, 4), int)),
        (np.zeros((4, 4), np.uint8), np.zeros(4, int)),
        (np.zeros((4, 4), np.uint8), np.zeros((1, 4))),
    ],
)
def test_wrong_arrays_are_named(img, truths):
    with pytest.raises(ValueError, match='expected'):
        best_iou_by_level(img, truths)
