# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Grid pointing on mosaics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from samples import evaluate, make_sample

from mmentropy.evaluation import GridPointingMetric


def mosaic(cam: list, tile: list, **more) -> dict:
    return {
        'cams': torch.tensor([cam]),
        'cam_labels': torch.tensor([3]),
        'gt_label': torch.tensor([3]),
        'ori_shape': (100, 100),
        'tile_bbox': np.float32(tile),
        **more,
    }


def test_grid_pointing_is_the_mean_share_in_the_right_tile():
    samples = [
        mosaic([[4.0, -9.0], [1.0, 3.0]], [0, 0, 50, 50]),  # 4/8
        mosaic([[1.0, 1.0], [1.0, 1.0]], [50, 0, 100, 50]),  # 1/4
        mosaic([[-1.0, -2.0], [0.0, 0.0]], [0, 0, 50, 50]),  # points nowhere
    ]
    results = evaluate(GridPointingMetric(), samples)
    assert results == pytest.approx({'wsol/grid_pointing': 25.0, 'wsol/grid_empty': 100 / 3}, abs=1e-6)


def test_grid_pointing_with_entropy_weights():
    entropy = torch.tensor([[0.0, 9.0], [math.log(2), math.log(3)]])
    sample = mosaic([[4.0, -9.0], [1.0, 3.0]], [0, 0, 50, 50], entropy_map=entropy)
    results = evaluate(GridPointingMetric(localizer='relu*weight'), [sample])
    assert results['wsol/grid_pointing'] == pytest.approx(100 * 4 / 5.5, abs=1e-4)
    with pytest.raises(ValueError, match="'certainty' is never positive"):
        GridPointingMetric(localizer='certainty')


def test_grid_pointing_needs_mosaics():
    sample = make_sample(0)
    del sample['tile_bbox']
    with pytest.raises(KeyError, match=r"image_0\.jpg has no 'tile_bbox'"):
        GridPointingMetric().process(None, [sample])
