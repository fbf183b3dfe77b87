# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import numpy as np
import pytest
import torch

from mmentropy.registry import METRICS


def sample(found: list, truth: list) -> dict:
    return dict(
        pred_sem_seg=dict(data=torch.tensor([found])), gt_sem_seg=dict(data=torch.tensor([truth])), img_path='a.png'
    )


def test_dice_per_image_by_hand():
    metric = METRICS.build(dict(type='SegmentorDiceMetric', prefix='dice'))
    metric.process(
        None,
        [
            # 3 found, 2 true, 2 of them found: F1⁺ = 4/5; background 3 and 4, 3 in common: F1⁻ = 6/7.
            sample([[1, 1, 1], [0, 0, 0]], [[1, 1, 0], [0, 0, 0]]),
            sample([[0, 0, 0], [0, 0, 2]], [[0, 0, 1], [0, 0, 1]]),  # another class than 0 is object: 2/3 and 8/9
        ],
    )
    out = metric.evaluate(2)
    assert out['dice/F1+'] == pytest.approx(100 * np.mean([4 / 5, 2 / 3]))
    assert out['dice/F1-'] == pytest.approx(100 * np.mean([6 / 7, 8 / 9]))
    assert 'dice/error' not in out


def test_a_sample_without_prediction_is_named():
    metric = METRICS.build(dict(type='SegmentorDiceMetric'))
    with pytest.raises(KeyError, match=r'a.png has no .pred_sem_seg'):
        metric.process(None, [dict(gt_sem_seg=dict(data=torch.zeros(1, 2, 2)), img_path='a.png')])
