# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from mmentropy.ops.localizing.boxes import box_iou
from mmentropy.ops.localizing.map_boxes import boxes_from_map, foreground_mask
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.scaling import NORMALIZATIONS, draw_maps, normalize_map, resize_map, upsample_map

RNG = np.random.default_rng(0)


def hill(ground: float, side: int = 801, sigma: float = 120.0) -> np.ndarray:
    """A Gaussian of height 4 in the middle, on a ground."""
    y, x = np.mgrid[:side, :side] - side // 2
    return (4 * np.exp(-(x**2 + y**2) / (2 * sigma**2)) + ground).astype(np.float32)


def test_normalised_by_range_and_by_maximum():
    cam = np.array([[[-1.0, 0.0, 1.0, 4.0]], [[2.0, 2.5, 3.0, 4.0]]])
    np.testing.assert_allclose(normalize_map(cam), [[[0, 0.2, 0.4, 1]], [[0, 0.25, 0.5, 1]]], rtol=1e-6)
    np.testing.assert_allclose(normalize_map(cam, 'max'), [[[0, 0, 0.25, 1]], [[0.5, 0.625, 0.75, 1]]], rtol=1e-6)


@pytest.mark.parametrize(('value', 'by_maximum'), [(3.0, 1.0), (0.0, 0.0), (-3.0, 0.0)])
def test_constant_maps(value, by_maximum):
    assert (normalize_map(np.full((2, 3), value)) == 0).all()
    assert (normalize_map(np.full((2, 3), value), 'max') == by_maximum).all()


def test_a_map_without_positive_evidence_is_empty_by_its_maximum():
    cam = -1 - RNG.random((4, 5))
    assert (normalize_map(cam, 'max') == 0).all()
    assert normalize_map(cam).max() == 1


@pytest.mark.parametrize('share', [0.0, 0.2, 0.5, 0.9])
def test_shares_of_the_maximum_are_those_of_the_raw_map(share):
    cam = RNG.normal(size=(40, 50)).astype(np.float32)
    np.testing.assert_array_equal(foreground_mask(normalize_map(cam, 'max'), share), cam > share * cam.max())
    low, high = cam.min(), cam.max()
    np.testing.assert_array_equal(foreground_mask(normalize_map(cam), share), cam > low + share * (high - low))


@pytest.mark.parametrize('ground', [0.0, -1.0, -2.0])
def test_how_far_the_boxes_of_the_two_differ(ground):
    """A hill h·exp(−r²/2σ²) + g is cut at t·(h + g), or at g + t·h: r² = 2σ² ln(h / (cut − g)), and a square's IoU is
    the ratio of the two."""
    cam = hill(ground)
    boxes = [boxes_from_map(normalize_map(cam, way))[:1] for way in NORMALIZATIONS]
    expected = np.log(4 / (0.2 * (4 + ground) - ground)) / np.log(5)
    assert box_iou(*(box - (0, 0, 1, 1) for box in boxes))[0, 0] == pytest.approx(expected, abs=0.01)


def test_upsampled_raw_and_then_normalised():
    cams = RNG.normal(size=(2, 7, 9)).astype(np.float32)
    drawn = np.stack([cv2.resize(cam, (60, 40), interpolation=cv2.INTER_CUBIC) for cam in cams])
    np.testing.assert_array_equal(resize_map(cams, (40, 60)), drawn)
    for form in (cams, torch.from_numpy(cams), torch.from_numpy(cams).double()):
        low, top = drawn.min((1, 2), keepdims=True), drawn.max((1, 2), keepdims=True)
        np.testing.assert_allclose(upsample_map(form, (40, 60)), (drawn - low) / (top - low), atol=1e-6)
        np.testing.assert_allclose(upsample_map(form, (40, 60), normalize='max'), np.maximum(drawn, 0) / top, atol=1e-6)
    with pytest.raises(ValueError, match=r"interpolation must be one of .* got 'lanczos'"):
        upsample_map(cams, (40, 60), 'lanczos')


@pytest.mark.parametrize('normalize', NORMALIZATIONS)
@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_refusals(normalize, value):
    with pytest.raises(ValueError, match='NaN or infinite'):
        normalize_map(np.array([[0.0, value]]), normalize)
    with pytest.raises(ValueError, match=r"normalize must be one of \('minmax', 'max'\), got 'sum'"):
        normalize_map(np.zeros((2, 2)), 'sum')


@pytest.mark.parametrize('way', NORMALIZATIONS)
def test_upsampled_in_place(way):
    cams, grid = RNG.normal(size=(2, 7, 9)).astype(np.float32), MapGrid((0, 3), (32, 24), (224, 216))
    expected = normalize_map(draw_maps(cams, (40, 60), grid, 'bilinear'), way)
    np.testing.assert_array_equal(upsample_map(torch.from_numpy(cams), (40, 60), 'bilinear', way, grid), expected)
    neutral = MapGrid.half_pixel((7, 9), (224, 288))
    assert np.array_equal(upsample_map(cams, (40, 60), grid=neutral), upsample_map(cams, (40, 60)))
