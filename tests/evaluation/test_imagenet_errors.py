# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""ILSVRC's errors on maps whose right answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from mmentropy.evaluation import ImageNetErrorMetric


def ranked(place: int, truth: tuple = (0, 0, 112, 112)) -> dict:
    """The true class, 3, is the ``place``-th best; its map fills the upper left quarter, all others the lower right."""
    order = [c for c in range(8) if c != 3]
    order.insert(place, 3)
    scores = np.zeros(8, np.float32)
    scores[order] = np.linspace(0.9, 0.2, 8)
    # Evidence of 0.3 in the upper half beside the object: above 20 % of the maximum, below one half of it.
    cams = np.zeros((8, 4, 4), np.float32)
    cams[:, 2:, 2:] = 1
    cams[3] = cams[3, ::-1, ::-1]
    return {
        **{'gt_label': np.array([3]), 'pred_score': scores, 'cams': cams, 'cam_labels': np.arange(8)},
        **{'gt_bboxes': np.array([truth], np.float32), 'ori_shape': (224, 224), 'img_path': f'{place}.jpg'},
    }


def errors(samples: list[dict]) -> dict:
    metric = ImageNetErrorMetric()
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_errors_by_the_place_of_the_class():
    found = errors([ranked(place) for place in range(8)])
    wrong = {
        'Top1-error': 7,
        'Top5-error': 3,
        'Top1-Loc-error': 7,
        'Top5-Loc-error': 3,
        'Top5-Loc-error@tight_loose': 5,
    }
    assert found == {f'ilsvrc/{name}': pytest.approx(100 * count / 8) for name, count in wrong.items()}


def test_the_box_counts_beside_the_class():
    found = errors([ranked(0, (120, 120, 223, 223)), ranked(0)])
    assert found['ilsvrc/Top1-error'] == 0
    assert found['ilsvrc/Top1-Loc-error'] == found['ilsvrc/Top5-Loc-error'] == 50


def test_only_the_tight_box_of_the_two_is_right():
    one = ranked(0)
    one['cams'][3, :2, 2:] = 0.3  # the loose box is the whole upper half
    one['gt_bboxes'] = np.array([[0, 0, 100, 112]], np.float32)
    found = errors([one])
    assert found['ilsvrc/Top5-Loc-error'] == 100
    assert found['ilsvrc/Top5-Loc-error@tight_loose'] == 0


def test_options():
    with pytest.raises(ValueError, match='share lies below tight'):
        ImageNetErrorMetric(share=0.6)
