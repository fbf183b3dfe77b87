# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Grids against closed forms, and against where real layers with flat kernels put a bright pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmentropy.ops.mapping.geometry import MapGrid, as_pair

IMAGE = MapGrid.of_image((96, 64))


def looked_at(layer, location, size=(96, 64)):
    """Centroid of the gradient of one location by the image: the oracle of every grid here."""
    image = torch.ones(1, 4, *size, dtype=torch.float64, requires_grad=True)
    out = layer(image)
    (slope,) = torch.autograd.grad(out[0, :, location[0], location[1]].sum(), image)
    weight = slope[0].abs().sum(0)
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in size), indexing='ij')
    return float((weight * y).sum() / weight.sum()), float((weight * x).sum() / weight.sum())


def flat(kernel, out=4, into=4):
    return torch.ones(out, into, *kernel, dtype=torch.float64)


LAYERS = {
    'conv': (
        lambda x: F.conv2d(x, flat((3, 5)), stride=(2, 1), padding=(1, 0), dilation=(2, 1)),
        IMAGE.convolved((3, 5), (2, 1), (1, 0), (2, 1)),
    ),
    'even conv': (lambda x: F.conv2d(x, flat((4, 2)), stride=2), IMAGE.convolved((4, 2), 2)),
    'pooling': (lambda x: F.avg_pool2d(x, 3, 2, 1), IMAGE.convolved(3, 2, 1)),
    'asymmetric padding': (
        lambda x: F.conv2d(F.pad(x, (0, 1, 0, 1)), flat((3, 3)), stride=2),
        IMAGE.convolved(3, 2, 0),
    ),
    'transposed': (
        lambda x: F.conv_transpose2d(x, flat((5, 3)), stride=(1, 2), padding=(0, 1)),
        IMAGE.transposed((5, 3), (1, 2), (0, 1)),
    ),
    'dilated transposed': (
        lambda x: F.conv_transpose2d(x, flat((3, 3)), stride=1, padding=2, dilation=2),
        IMAGE.transposed(3, 1, 2, 2),
    ),
    'slice': (lambda x: x[..., 1::3, 2::2], IMAGE.sliced((1, 2), (3, 2))),
    'pixel unshuffle': (lambda x: F.pixel_unshuffle(x, 4), IMAGE.folded(4)),
    'down': (
        lambda x: F.interpolate(x, (48, 32), mode='bilinear'),
        IMAGE.interpolated((96, 64), (48, 32)),
    ),
    'nearest down': (
        lambda x: F.interpolate(x, (48, 16), mode='nearest'),
        IMAGE.interpolated((96, 64), (48, 16), nearest=True),
    ),
    'chain': (
        lambda x: F.max_pool2d(F.conv2d(x, flat((7, 7)), stride=2, padding=3), 1, 2)[..., 1:, 1:],
        IMAGE.convolved(7, 2, 3).convolved(1, 2).sliced(1),
    ),
}


@pytest.mark.parametrize('name', LAYERS)
def test_layer_looks_where_the_grid_says(name):
    layer, grid = LAYERS[name]
    rows, columns = grid.pixels((20, 20))
    for y, x in ((6, 7), (9, 5)):
        assert looked_at(layer, (y, x)) == pytest.approx((rows[y], columns[x]), abs=1e-9)


@pytest.mark.parametrize(
    ('layer', 'grid', 'phases'),
    [
        (lambda x: F.interpolate(x, scale_factor=2, mode='bilinear'), IMAGE.interpolated((96, 64), (192, 128)), 2),
        (
            lambda x: F.interpolate(x, scale_factor=3, mode='nearest'),
            IMAGE.interpolated((96, 64), (288, 192), nearest=True),
            3,
        ),
        (lambda x: F.conv_transpose2d(x, flat((4, 6)), stride=2, padding=1), IMAGE.transposed((4, 6), 2, 1), 2),
        (lambda x: F.pixel_shuffle(x, 2), IMAGE.unfolded(2), 2),
    ],
)
def test_enlarging_layers_look_there_on_average(layer, grid, phases):
    # A single location of an enlarged map may look beside its place (nearest: always); one period of them does not.
    rows, columns = grid.pixels((60, 60))
    found = [looked_at(layer, (12 + i, 24 + i)) for i in range(phases)]
    assert np.mean(found, axis=0) == pytest.approx((rows[12 : 12 + phases].mean(), columns[24 : 24 + phases].mean()))


def test_align_corners_keeps_the_corners():
    grid = IMAGE.interpolated((96, 64), (20, 10), align_corners=True)
    rows, columns = grid.pixels((20, 10))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == pytest.approx((0, 95, 0, 63))


def test_known_families():
    resnet = MapGrid.of_image((224, 224)).convolved(7, 2, 3).convolved(3, 2, 1)
    for _ in range(3):
        resnet = resnet.convolved(3, 2, 1)
    assert resnet == MapGrid((0, 0), (32, 32), (224, 224))
    assert resnet.offset((7, 7)) == (-15.5, -15.5)
    vgg = MapGrid.of_image((224, 224))
    for _ in range(5):
        vgg = vgg.convolved(3, 1, 1).convolved(2, 2)
    assert vgg == MapGrid.half_pixel((7, 7), (224, 224))
    assert vgg.is_half_pixel((7, 7))
    assert not resnet.is_half_pixel((7, 7))
    assert not vgg.is_half_pixel((8, 7))


def test_offset_counts_the_step_too():
    # Seven cells of 32 over 200 pixels end outside: half-pixel drawing squeezes them.
    grid = MapGrid((0, 0), (32, 32), (200, 200))
    assert grid.offset((7, 7)) == pytest.approx((96 - 99.5, 96 - 99.5))


def test_image_resized_cropped_padded():
    # 480x640 resized to 256x320, cropped at (16, 32) to 224x224, padded by (8, 4) to 240x232, read by a ResNet.
    grid = MapGrid((0, 0), (32, 32), (240, 232))
    grid = grid.before_padding((8, 4), (224, 224))
    assert grid == MapGrid((-8, -4), (32, 32), (224, 224))
    grid = grid.before_crop((16, 32), (256, 320))
    assert grid == MapGrid((8, 28), (32, 32), (256, 320))
    grid = grid.before_resize((480, 640))
    assert grid.start == pytest.approx((8.5 * 480 / 256 - 0.5, 28.5 * 2 - 0.5))
    assert grid.step == pytest.approx((60, 64))
    assert grid.size == (480, 640)


def test_neutral_grid_stays_neutral_when_the_image_was_resized():
    grid = MapGrid.half_pixel((7, 5), (224, 160)).before_resize((333, 500))
    assert grid.is_half_pixel((7, 5))
    rows, columns = grid.coordinates((60, 50))
    assert rows == pytest.approx((np.arange(60) + 0.5) * 7 / 60 - 0.5)
    assert columns == pytest.approx((np.arange(50) + 0.5) * 5 / 50 - 0.5)


def test_coordinates_of_a_picture_at_another_size():
    grid = MapGrid((0, 4), (32, 16), (224, 112))
    rows, columns = grid.coordinates((112, 112))
    assert rows[10] == pytest.approx((10.5 * 2 - 0.5) / 32)
    assert columns[10] == pytest.approx((10 - 4) / 16)


def test_array_round_trip():
    grid = MapGrid((0.25, -3.5), (32, 16), (224, 112))
    assert MapGrid.from_array(grid.to_array()) == grid
    assert MapGrid.from_array(grid.to_array().ravel().astype(np.float32)) == grid
    with pytest.raises(ValueError, match='six numbers'):
        MapGrid.from_array(np.zeros(4))


@pytest.mark.parametrize(
    ('start', 'step', 'size'),
    [((0, np.nan), (1, 1), (8, 8)), ((0, 0), (0, 1), (8, 8)), ((0, 0), (1, 1), (0, 8)), ((0, 0, 0), (1, 1), (8, 8))],
)
def test_bad_grids_are_refused(start, step, size):
    with pytest.raises(ValueError):
        MapGrid(start, step, size)


def test_pairs():
    assert as_pair(3) == (3.0, 3.0)
    assert as_pair([2]) == (2.0, 2.0)
    with pytest.raises(ValueError, match='pair'):
        as_pair((1, 2, 3))
