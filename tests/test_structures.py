# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Where a sample's maps are in its original image: a picture of coordinates goes through real pipelines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import TRANSFORMS
from mmpretrain.structures import DataSample

from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.structures import MAP_GRID, grid_in_image, grid_in_picture

HEIGHT, WIDTH = 120, 200

PIPELINES = {
    'squashed': [dict(type='Resize', scale=(96, 64))],
    'short edge and centre crop': [dict(type='ResizeEdge', scale=90), dict(type='CenterCrop', crop_size=(64, 48))],
    'long edge and padding': [dict(type='ResizeEdge', scale=96, edge='long'), dict(type='Pad', size=(96, 96))],
    'cropped and resized': [dict(type='CenterCrop', crop_size=(100, 80)), dict(type='Resize', scale=(50, 40))],
    'as it is': [],
}


def packed(pipeline: list[dict]) -> tuple[np.ndarray, DataSample]:
    """A picture whose pixels tell their own row and column, behind a pipeline, and its sample."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    results = {'img': np.stack([y, x, x], axis=2), 'ori_shape': (HEIGHT, WIDTH), 'img_shape': (HEIGHT, WIDTH)}
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        for transform in [*pipeline, dict(type='PackInputs')]:
            results = TRANSFORMS.build(transform)(results)
    return results['inputs'].numpy(), results['data_samples']


@pytest.mark.parametrize('name', PIPELINES)
@pytest.mark.parametrize('batch_padding', [(0, 0), (8, 16)])
def test_pixels_of_the_input_are_where_they_came_from(name, batch_padding):
    """Every pixel is a location: the grid of the identity."""
    image, sample = packed(PIPELINES[name])
    height, width = image.shape[1:]
    size = (height + batch_padding[0], width + batch_padding[1])
    sample.set_field(MapGrid.of_image(size), MAP_GRID)
    grid = grid_in_image(sample).before_resize((HEIGHT, WIDTH))
    rows, columns = grid.pixels((height, width))
    for values, places in ((image[0, :, width // 4], rows), (image[1, height // 4], columns)):
        # Padding is black, and a resized ramp is flat at its border.
        shown = np.flatnonzero(values > 0)[2:-2]
        assert len(shown) > 30
        np.testing.assert_allclose(values[shown], places[shown], atol=0.02)


def test_without_a_scale_the_whole_image_was_resized():
    """Transforms that do not tell what they did are read as the field reads all: the map covers the image."""
    sample = {'ori_shape': (120, 200), 'img_shape': (64, 64), MAP_GRID: MapGrid((0, 0), (8, 8), (64, 64))}
    assert grid_in_image(sample) == sample[MAP_GRID]


def test_a_sample_without_a_grid_or_a_size():
    assert grid_in_image({}) is None
    assert grid_in_image(DataSample(metainfo={'ori_shape': (10, 10)})) is None
    grid = MapGrid((1, 2), (8, 8), (64, 64))
    assert grid_in_image({MAP_GRID: grid}) == grid
    assert grid_in_image({MAP_GRID: torch.from_numpy(grid.to_array())}) == grid


def test_a_grid_travels_with_its_sample():
    """Through the copies that mmengine makes between the model and the metrics."""
    grid = MapGrid((1, 2), (8, 8), (64, 64))
    sample = DataSample(metainfo={'ori_shape': (10, 10)})
    sample.set_field(grid, MAP_GRID)
    assert sample.clone().cpu().numpy().to_dict()[MAP_GRID] == grid


def test_where_maps_look_in_what_the_pipeline_gave():
    """Resized by a half, cropped to 48 by 32 in the middle, and padded in the batch to 64 by 64."""
    grid = MapGrid((0, 4), (8, 16), (64, 64))
    sample = {MAP_GRID: grid, 'ori_shape': (120, 80), 'scale_factor': (0.5, 0.5), 'img_shape': (48, 32)}
    seen, image = grid_in_picture(sample, (48, 32)), grid_in_picture(sample, (120, 80))
    assert seen == MapGrid((0, 4), (8, 16), (48, 32))
    assert image == grid_in_image(sample) == MapGrid((2 * 6.5 - 0.5, 2 * 8.5 - 0.5), (16, 32), (120, 80))
    assert grid_in_picture({}, (48, 32)) is None
