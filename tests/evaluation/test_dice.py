# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Dice of an image and of a set, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from samples import evaluate

from mmentropy.evaluation import DiceMetric


def dice_sample(cam: list, mask: list, wrong: bool = False) -> dict:
    return {
        'cams': torch.tensor([cam]),
        'cam_labels': torch.tensor([-1]),
        'gt_label': torch.tensor([1]),
        'gt_mask': np.array(mask, np.uint8),
        'pred_label': torch.tensor([0 if wrong else 1]),
    }


def test_dice_per_image_then_mean():
    samples = [
        # found 2 of 2 foreground pixels and one too many: tp 2, fp 1, fn 0, tn 1
        dice_sample([[0.9, 0.5], [0.5, 0.49]], [[1, 1], [0, 0]]),
        # tp 1, fp 0, fn 1, tn 2
        dice_sample([[0.9, 0.1], [0.2, 0.3]], [[1, 1], [0, 0]], wrong=True),
        # no foreground: tn 3, fp 1
        dice_sample([[0.9, 0.1], [0.2, 0.3]], [[0, 0], [0, 0]]),
    ]
    results = evaluate(DiceMetric(), samples)
    assert results['wsol/F1+'] == pytest.approx(100 * np.mean([4 / 5, 2 / 3]), abs=1e-6)
    assert results['wsol/F1-'] == pytest.approx(100 * np.mean([2 / 3, 4 / 5, 6 / 7]), abs=1e-6)
    assert results['wsol/error'] == pytest.approx(100 / 3)
    assert results['wsol/dice_empty'] == 1
    # raw class maps are normalised first: [[9, 5], [5, 4.9]] / … gives the mask [[1, 0], [0, 0]]
    normalised = evaluate(DiceMetric(normalize=True), [dice_sample([[9.0, 5.0], [5.0, 4.9]], [[1, 1], [0, 0]])])
    assert normalised['wsol/F1+'] == pytest.approx(200 / 3, abs=1e-6)


def test_dice_enlarges_the_mask_to_the_image():
    sample = dice_sample([[1.0, 0.0], [1.0, 0.0]], np.eye(2, dtype=np.uint8).repeat(4, 0).repeat(4, 1).tolist())
    results = evaluate(DiceMetric(), [sample])  # the left half is found: tp 16, fp 16, fn 16, tn 16
    assert results['wsol/F1+'] == results['wsol/F1-'] == pytest.approx(50, abs=1e-6)


def test_bad_dice_input_is_named():
    with pytest.raises(ValueError, match='the mask holds NaN'):
        DiceMetric().process(None, [dice_sample([[float('nan'), 0.0]], [[1, 0]])])
    with pytest.raises(ValueError, match='threshold must be a number'):
        DiceMetric(threshold=2)
