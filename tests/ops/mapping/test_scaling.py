# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Maps drawn in their place against a loop over pixels, OpenCV and PyTorch."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmentropy.ops.localizing.boxes import box_iou
from mmentropy.ops.localizing.map_boxes import boxes_from_map, foreground_mask
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.scaling import (
    NORMALIZATIONS,
    draw_maps,
    move_maps,
    normalize_map,
    resize_map,
    sampling_matrix,
    upsample_map,
)

FLAGS = {'nearest': cv2.INTER_NEAREST, 'bilinear': cv2.INTER_LINEAR, 'cubic': cv2.INTER_CUBIC, 'area': cv2.INTER_AREA}


def kernel(d, interpolation):
    """Textbook form of both kernels."""
    d = abs(d)
    if interpolation == 'bilinear':
        return max(0.0, 1 - d)
    a = -0.75
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def brute_force(one, size, grid, interpolation):
    """Every pixel by itself: where it looks, and the sum over an endless replicated map around it."""
    h, w = one.shape
    out = np.zeros(size)
    for y in range(size[0]):
        for x in range(size[1]):
            v = ((y + 0.5) * grid.size[0] / size[0] - 0.5 - grid.start[0]) / grid.step[0]
            u = ((x + 0.5) * grid.size[1] / size[1] - 0.5 - grid.start[1]) / grid.step[1]
            for i in range(math.floor(v) - 2, math.floor(v) + 4):
                for j in range(math.floor(u) - 2, math.floor(u) + 4):
                    value = one[min(max(i, 0), h - 1), min(max(j, 0), w - 1)]
                    out[y, x] += value * kernel(v - i, interpolation) * kernel(u - j, interpolation)
    return out


GRIDS = [
    MapGrid((0, 0), (8, 8), (40, 48)),
    MapGrid((3.25, -6.5), (9, 7.5), (44, 37)),
    MapGrid((7, 40), (4, -8), (40, 48)),  # smaller than the image, and mirrored in x
]


@pytest.mark.parametrize('interpolation', ['bilinear', 'cubic'])
@pytest.mark.parametrize('grid', GRIDS)
def test_against_a_loop_over_pixels(grid, interpolation):
    maps = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)
    for size in ((40, 48), (23, 61)):
        expected = np.stack([brute_force(one, size, grid, interpolation) for one in maps])
        found = draw_maps(maps, size, grid, interpolation)
        assert found.dtype == np.float32
        assert found == pytest.approx(expected, abs=2e-5)
        tensor = draw_maps(torch.from_numpy(maps), size, grid, interpolation)
        assert tensor.dtype == torch.float32
        assert tensor.numpy() == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize('interpolation', FLAGS)
@pytest.mark.parametrize(('map_size', 'size'), [((7, 7), (224, 224)), ((5, 9), (83, 120)), ((30, 20), (11, 17))])
def test_neutral_grid_is_opencv_bit_for_bit(map_size, size, interpolation):
    maps = np.random.default_rng(1).normal(size=(3, *map_size)).astype(np.float32)
    expected = np.stack([cv2.resize(one, size[::-1], interpolation=FLAGS[interpolation]) for one in maps])
    for grid in (None, MapGrid.half_pixel(map_size, size), MapGrid.half_pixel(map_size, (375, 500))):
        assert np.array_equal(draw_maps(maps, size, grid, interpolation), expected)
        assert np.array_equal(draw_maps(maps[0], size, grid, interpolation), expected[0])
        assert np.array_equal(draw_maps(torch.from_numpy(maps), size, grid, interpolation).numpy(), expected)
        stacked = draw_maps(torch.from_numpy(maps)[None], size, grid, interpolation)
        assert np.array_equal(stacked.numpy(), expected[None])


@pytest.mark.parametrize('interpolation', ['bilinear', 'cubic'])
def test_matrices_at_half_pixels_are_what_the_hosts_draw(interpolation):
    # What runs on an accelerator, and where a gradient is asked for; tested against both hosts.
    maps = torch.randn(2, 3, 7, 5, requires_grad=True)
    found = draw_maps(maps, (100, 90), None, interpolation)
    mode = {'cubic': 'bicubic'}.get(interpolation, interpolation)
    assert torch.allclose(found, F.interpolate(maps, (100, 90), mode=mode, align_corners=False), atol=1e-5)
    plain = draw_maps(maps.detach().numpy(), (100, 90), None, interpolation)
    assert found.detach().numpy() == pytest.approx(plain, abs=1e-5)
    (slope,) = torch.autograd.grad(found.sum(), maps)
    assert slope.sum().item() == pytest.approx(2 * 3 * 100 * 90, rel=1e-5)  # rows sum to one


def test_a_location_is_drawn_where_it_looks():
    # The top of one location's bump lies on the pixel that the grid names, for networks of every kind.
    for grid in (MapGrid((0, 0), (32, 32), (224, 224)), MapGrid((31, 15), (32, 32), (224, 224))):
        one = np.zeros((7, 7), np.float32)
        one[2, 3] = 1
        y, x = np.unravel_index(draw_maps(one, (224, 224), grid).argmax(), (224, 224))
        rows, columns = grid.pixels((7, 7))
        assert (y, x) == (rows[2], columns[3])


def test_a_view_is_mirrored_after_drawing():
    # A bump at pixel 64 of the mirrored image is one at 159 of the image; flipping the small map is 31 pixels off.
    grid = MapGrid((0, 0), (32, 32), (224, 224))
    one = np.zeros((7, 7), np.float32)
    one[2, 2] = 1
    drawn = draw_maps(one, (224, 224), grid)
    assert drawn[:, ::-1].max(axis=0).argmax() == 223 - 64
    assert draw_maps(one[:, ::-1], (224, 224), grid).max(axis=0).argmax() == 128


def test_nearest_takes_the_nearest_location():
    grid = MapGrid((0, 0), (1, 4), (1, 16))
    found = draw_maps(np.array([[0.0, 1, 2, 3]]), (1, 16), grid, 'nearest')[0]
    assert found.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]


@pytest.mark.parametrize('normalize', ['minmax', 'max'])
def test_upsampling_draws_and_normalises(normalize):
    maps = np.random.default_rng(2).normal(size=(2, 5, 6)).astype(np.float32)
    for grid in (None, GRIDS[1]):
        expected = normalize_map(draw_maps(maps, (40, 48), grid), normalize)
        assert np.array_equal(upsample_map(maps, (40, 48), normalize=normalize, grid=grid), expected)
        assert np.array_equal(upsample_map(torch.from_numpy(maps), (40, 48), normalize=normalize, grid=grid), expected)


def test_half_precision_comes_back_as_float32():
    maps = torch.randn(1, 5, 6, dtype=torch.float16)
    for grid in (None, GRIDS[0]):
        found = draw_maps(maps, (40, 48), grid)
        assert found.dtype == torch.float32
        assert torch.equal(found, draw_maps(maps.float(), (40, 48), grid))


@pytest.mark.parametrize('interpolation', ['nearest', 'bilinear', 'cubic'])
def test_rows_sum_to_one(interpolation):
    matrix = sampling_matrix(np.linspace(-9, 14, 50), 6, interpolation)
    assert matrix.sum(axis=1) == pytest.approx(np.ones(50), abs=1e-6)


def test_bad_input_is_told_what_to_do():
    maps = np.zeros((4, 4))
    with pytest.raises(ValueError, match="got 'lanczos'"):
        draw_maps(maps, (8, 8), interpolation='lanczos')
    with pytest.raises(ValueError, match='half-pixel centres only, without a grid'):
        draw_maps(maps, (8, 8), MapGrid((0, 0), (2, 2), (8, 8)), 'area')
    with pytest.raises(ValueError, match=r'\(\.\.\., h, w\)'):
        draw_maps(np.zeros(4), (8, 8))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs an accelerator')
@pytest.mark.parametrize('interpolation', FLAGS)
def test_stays_on_the_device(interpolation):
    maps = torch.randn(2, 5, 6)
    for grid in (None, GRIDS[1]) if interpolation != 'area' else (None,):
        found = draw_maps(maps.cuda(), (40, 48), grid, interpolation)
        assert found.is_cuda
        assert torch.allclose(found.cpu(), draw_maps(maps, (40, 48), grid, interpolation), atol=1e-4)


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


@pytest.mark.parametrize('image_size', [(96, 128), (48, 128)])
def test_moved_to_the_locations_of_another_map(image_size):
    """A plane is read exactly between its locations, wherever both maps look; the image's size does not matter."""
    old, new = MapGrid((0, 3), (8, 16), (96, 128)), MapGrid((20.5, 40), (4, 8), (192, 256))
    y, x = (torch.from_numpy(places).float() for places in old.pixels((12, 8)))
    found = move_maps(torch.stack([y[:, None] + 0 * x, 0 * y[:, None] + x]), old, (9, 10), new, image_size)
    # In pixels of the old grid's image, half the size of the new one's.
    there = [(p + 0.5) / 2 - 0.5 for p in new.pixels((9, 10))]
    np.testing.assert_allclose(found[0].numpy(), np.broadcast_to(there[0][:, None], (9, 10)), atol=1e-4)
    np.testing.assert_allclose(found[1].numpy(), np.broadcast_to(there[1], (9, 10)), atol=1e-4)


def test_not_moved_where_it_is():
    maps, grid = torch.randn(2, 5, 6), MapGrid((1, 2), (8, 8), (40, 48))
    assert torch.equal(move_maps(maps, grid, (5, 6), grid.before_resize((80, 96)), (40, 48)), maps)
    assert torch.equal(move_maps(maps, None, (5, 6), MapGrid.half_pixel((5, 6), (40, 48)), (80, 48)), maps)
