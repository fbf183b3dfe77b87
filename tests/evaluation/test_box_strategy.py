# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""ILSVRC's top-5 localisation error as an option of the box metric."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('mmengine', reason='mmengine is not installed')

from mmentropy.evaluation import BoxLocalizationMetric


def sample(place: int, truth: tuple[int, ...] = (0, 0, 111, 111)) -> dict:
    """The true class, 3, is the ``place``-th best; its map fills the upper left quarter, all others the lower right."""
    order = [c for c in range(8) if c != 3]
    order.insert(place, 3)
    scores = np.zeros(8, np.float32)
    scores[order] = np.linspace(0.9, 0.2, 8)
    cams = np.zeros((8, 4, 4), np.float32)
    cams[:, 2:, 2:] = 1
    cams[3] = cams[3, ::-1, ::-1]
    boxes = np.array([truth], np.float32)
    return {
        **{'gt_label': np.array([3]), 'pred_score': scores, 'cams': cams, 'cam_labels': np.arange(8)},
        **{'gt_bboxes': boxes, 'ori_shape': (224, 224), 'img_path': f'{place}.jpg'},
    }


@pytest.mark.parametrize(('strategy', 'reached'), [('top5', 5), ('tight_loose', 3)])
def test_error_counts_the_classes_that_the_strategy_looks_at(strategy, reached):
    metric = BoxLocalizationMetric(box_strategy=strategy, interpolation='nearest')
    samples = [sample(place) for place in range(8)] + [sample(0, (100, 100, 223, 223))] * 2
    metric.process(None, samples)
    error = metric.evaluate(len(samples))['wsol/Top5-Loc-error']
    assert error == pytest.approx(100 * (1 - reached / 10))


def test_off_by_default_and_unknown_strategies_are_refused():
    metric = BoxLocalizationMetric()
    metric.process(None, [sample(0)])
    assert 'wsol/Top5-Loc-error' not in metric.evaluate(1)
    with pytest.raises(ValueError, match='box_strategy must be one of'):
        BoxLocalizationMetric(box_strategy='best')


@pytest.mark.parametrize('localizer', ['cam', 'certainty', 'weight'])
def test_guesses_are_cut_at_a_share_of_the_maximum_and_minus_entropy_by_its_range(localizer):
    """Evidence of 1 in a quarter, 0.1 around it and −1 in the last row: of the range, 0.1 lies above one half, and
    the box would be three times too large. The entropy is low in that quarter; −H has no positive value at all."""
    one = sample(0)
    cams = np.full((8, 4, 4), 0.1, np.float32)
    cams[:, 3], cams[:, :2, :2] = -1, 1
    entropy = np.full((4, 4), 2, np.float32)
    entropy[:2, :2] = 0.5
    one |= {'cams': cams, 'entropy_map': entropy}
    metric = BoxLocalizationMetric(box_strategy='tight_loose', localizer=localizer)
    metric.process(None, [one])
    assert metric.evaluate(1)['wsol/Top5-Loc-error'] == 0
