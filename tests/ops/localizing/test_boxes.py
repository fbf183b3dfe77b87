# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Boxes: overlaps against counting pixels, truncation, the centre map."""

from __future__ import annotations

import numpy as np
import pytest
from wsol_brute_force import traced_boxes

from mmentropy.ops.localizing.boxes import box_area, box_iou, center_map, intersection, scale_boxes


def pixels(box: np.ndarray) -> np.ndarray:
    grid = np.zeros((20, 20), bool)
    grid[box[1] : box[3] + 1, box[0] : box[2] + 1] = True
    return grid


def test_overlaps_are_pixel_counts():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 20, (2, 40, 2, 2))
    boxes, truths = (np.concatenate([c.min(1), c.max(1)], axis=1) for c in corners)
    masks, others = ([pixels(box) for box in group] for group in (boxes, truths))
    shared = np.array([[(a & b).sum() for b in others] for a in masks])
    joined = np.array([[(a | b).sum() for b in others] for a in masks])
    np.testing.assert_array_equal(intersection(boxes, truths), shared)
    np.testing.assert_array_equal(box_area(boxes), [mask.sum() for mask in masks])
    np.testing.assert_array_equal(box_iou(boxes, truths), shared / joined)


def test_scaling_truncates_as_the_protocol():
    # 335 · 224 / 500 = 150.08; 331 · 224 / 335 = 221.3…; 27 · 224 / 335 = 18.05…
    boxes = scale_boxes(np.array([[60, 27, 385, 331]]), (335, 500), (224, 224))
    assert boxes.tolist() == [[26, 18, 172, 221]]
    assert boxes.dtype == np.int64
    # a product that is whole must not fall short of it by rounding
    exact = np.array([[500 * k // 4, 0, 500, 500] for k in range(4)])
    assert scale_boxes(exact, (500, 500), (224, 224))[:, 0].tolist() == [0, 56, 112, 168]


def test_center_map_has_centred_boxes_of_the_images_aspect():
    cam = center_map((101, 201))
    img = (255 * cam).astype(np.uint8)
    assert cam[50, 100] == 1
    assert cam[0].max() == cam[:, 0].max() == 0
    for level in (0, 60, 127, 200):
        ((x0, y0, x1, y1),) = traced_boxes(img, level)
        assert (x0 + x1, y0 + y1) == (200, 100)
        assert abs((x1 - x0) - 2 * (y1 - y0)) <= 2
    assert center_map((1, 1)).tolist() == [[1.0]]


@pytest.mark.parametrize('boxes', [np.zeros(4), np.zeros((2, 5))])
def test_wrong_shapes_are_named(boxes):
    with pytest.raises(ValueError, match=r'expected \(n, 4\) boxes'):
        box_area(boxes)


def test_scaling_needs_finite_boxes_and_an_image():
    with pytest.raises(ValueError, match='cannot scale'):
        scale_boxes(np.array([[0, 0, np.nan, 1]]), (10, 10), (5, 5))
    with pytest.raises(ValueError, match='cannot scale'):
        scale_boxes(np.array([[0, 0, 1, 1]]), (0, 10), (5, 5))
