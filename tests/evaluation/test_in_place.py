# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Metrics draw maps where the model says that they look, and as ``cv2.resize`` where they are told to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from samples import evaluate, make_samples, make_scenes

from mmentropy import evaluation
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.scaling import draw_maps

#: Of a padded stem, and of an anisotropic one; of an input of another size than the image's.
GRIDS = (MapGrid((0, 0), (32, 32), (224, 224)), MapGrid((9, -4), (12, 40), (100, 240)))
#: Name → options, and the size at which it reads maps: its own, or the mask's; the interpolation that it draws with.
METRICS = {
    'BoxLocalizationMetric': ({'box_strategy': 'top5'}, (224, 224), 'cubic'),
    'PixelLocalizationMetric': ({}, (224, 224), 'cubic'),
    'ErrorAnalysisMetric': ({'threshold': 0.4}, (224, 224), 'cubic'),
    'DiceMetric': ({'normalize': True}, None, 'bilinear'),
    'PartCoverageMetric': ({}, None, 'bilinear'),
}


def figures(name: str, samples: list[dict], **options) -> dict:
    metric = getattr(evaluation, name)(**METRICS.get(name, ({},))[0], **options)
    if name == 'ErrorAnalysisMetric':  # its rows say more than its shares: the boxes
        metric.process(None, samples)
        return {
            f'{i} {key}': row[key] for i, row in enumerate(metric.results) for key in ('iou', 'x0', 'y0', 'x1', 'y1')
        }
    return evaluate(metric, samples)


def ranked(samples: list[dict]) -> list[dict]:
    """With maps of all classes, as the five guesses read them."""
    rng = np.random.default_rng(0)
    return [
        s | {'cams': torch.from_numpy(rng.normal(size=(8, 7, 7)).astype(np.float32)), 'cam_labels': torch.arange(8)}
        for s in samples
    ]


@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('name', METRICS)
def test_equals_reading_maps_that_were_drawn_before(name, grid):
    """A map that has the size at which it is read is not drawn again."""
    _, size, interpolation = METRICS[name]
    samples = ranked(make_samples(8))
    drawn = [s | {'cams': draw_maps(s['cams'], size or s['gt_mask'].shape, grid, interpolation)} for s in samples]
    found = figures(name, [s | {'map_grid': grid} for s in samples])
    assert found == pytest.approx(figures(name, drawn), nan_ok=True, abs=1e-6)
    assert found != figures(name, samples)


@pytest.mark.parametrize('name', [*METRICS, 'GridPointingMetric'])
def test_half_pixel_and_neutral_grids_are_the_fields_drawing(name):
    samples = ranked(make_samples(4))
    plain = figures(name, samples)
    assert figures(name, [s | {'map_grid': GRIDS[0]} for s in samples], grid='half_pixel') == plain
    assert figures(name, [s | {'map_grid': MapGrid.half_pixel((7, 7), (224, 300))} for s in samples]) == plain


def test_several_classes_in_their_place():
    grid = GRIDS[0]
    scenes = make_scenes(6)
    drawn = [s | {'cams': draw_maps(s['cams'], (224, 224), grid)} for s in scenes]
    found = figures('PixelLocalizationMetric', [s | {'map_grid': grid} for s in scenes])
    assert found == pytest.approx(figures('PixelLocalizationMetric', drawn))


def test_pointing_in_place():
    """Four cells of a 2×2 map that look at pixels 0 and 20 of 40: the first tile holds half of a cell, all around."""
    sample = make_samples(1)[0] | {
        'cams': torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]),
        'cam_labels': [-1],
        'ori_shape': (40, 40),
        'tile_bbox': np.float32([0, 0, 5.25, 40]),
        'map_grid': MapGrid((0, 0), (20, 20), (40, 40)),
    }
    # The first column of cells reaches from the border to 10.5, in pixels from the border.
    assert figures('GridPointingMetric', [sample])['wsol/grid_pointing'] == pytest.approx(50)
    assert figures('GridPointingMetric', [sample], grid='half_pixel')['wsol/grid_pointing'] == pytest.approx(26.25)


def test_a_cropped_image_is_read_where_it_was_cropped():
    """The network saw the middle 40 columns of 80; its map is drawn there, and its border goes on outside."""
    height, width = 40, 80
    mask = np.zeros((height, width), np.uint8)
    mask[:, 20:40] = 1
    sample = {
        'gt_label': torch.tensor([0]),
        'gt_mask': mask,
        'cams': torch.tensor([[[1.0, 0.0]]]),
        'cam_labels': [0],
        'ori_shape': (height, width),
        'img_shape': (40, 40),
        'scale_factor': (1.0, 1.0),
        'map_grid': MapGrid.half_pixel((1, 2), (40, 40)),
    }
    metric = evaluation.DiceMetric(interpolation='nearest')
    found = metric.count(sample)
    # Columns 0 to 39 are the first location's: 20 of them right, and all of the object.
    assert found['F1+'] / 2**32 == pytest.approx(2 * 20 / (40 + 20))
    assert found['F1-'] / 2**32 == pytest.approx(2 * 40 / (40 + 60))


@pytest.mark.parametrize('name', [*METRICS, 'GridPointingMetric'])
def test_another_drawing_is_refused(name):
    with pytest.raises(ValueError, match="grid must be one of sample, half_pixel, got 'measured'"):
        getattr(evaluation, name)(**METRICS.get(name, ({},))[0], grid='measured')
