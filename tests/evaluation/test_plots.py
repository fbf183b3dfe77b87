# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The plots' panels in numbers, and that pictures are written."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from samples import make_sample

from mmentropy.evaluation import BoxLocalizationMetric, PixelLocalizationMetric
from mmentropy.evaluation.plots import box_panels, pixel_panels, plot_curves, plot_errors
from mmentropy.ops.localizing.errors import KINDS


def test_box_panels_are_the_metrics_accuracies():
    metric = BoxLocalizationMetric(iou_thrs=(30, 50), cam_interval=0.1, eval_size=56)
    totals = metric.count(make_sample(0))
    (panel,) = box_panels(metric.counter, totals)
    figures = metric.figures(totals)
    for delta, (label, (thresholds, curve)) in zip((30, 50), panel['curves'].items()):
        np.testing.assert_allclose(thresholds, np.arange(0, 1, 0.1))
        assert curve.max() == figures[f'MaxBoxAcc@{delta}']
        assert panel['marks'][label] == (figures[f'threshold@{delta}'], curve.max())
        assert label.startswith(f'IoU ≥ {delta} %')


def test_pixel_panels_hold_precision_and_recall():
    metric = PixelLocalizationMetric(cam_interval=0.5, eval_size=(1, 4))
    truth = {'gt_label': [0], 'gt_mask': np.array([[1, 1, 0, 0]])}
    totals = metric.count({**truth, 'cams': [[[4.0, 1.0, 2.0, 0.0]]], 'cam_labels': [0]})
    over, against = pixel_panels(metric, totals)
    np.testing.assert_allclose(over['curves']['precision'][1], [50, 50])  # at 0: 2 of 4; at 1/2: 1 of 2
    np.testing.assert_allclose(over['curves']['recall'][1], [100, 50])
    np.testing.assert_allclose(against['curves']['PxAP'], [[100, 50], [50, 50]])


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_pictures(tmp_path, suffix):
    rows = [{'group': name, 'images': 2, **dict.fromkeys(KINDS, 100 / len(KINDS))} for name in ('all', '<10%')]
    plot_errors(rows, tmp_path / f'errors{suffix}')
    line = {'xlabel': 'x', 'ylabel': 'y', 'curves': {'one': ([0, 1], [0, 100])}, 'marks': {'one': (1, 100)}}
    plot_curves([line, line], tmp_path / f'curves{suffix}')
    sizes = [cv2.imread(str(tmp_path / f'{name}{suffix}')).shape for name in ('errors', 'curves')]
    assert sizes == [(504, 900, 3), (504, 1248, 3)]  # 4.2 inches high; 7.5, and 5.2 a panel, wide; 120 dots an inch
    assert len(list(tmp_path.iterdir())) == 2
