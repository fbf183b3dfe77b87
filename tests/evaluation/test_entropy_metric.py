# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Mean entropies from samples, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from samples import evaluate

from mmentropy.evaluation import EntropyMetric


def test_means_in_nats():
    uniform = {'pred_score': torch.full((4,), 0.25), 'entropy_map': torch.full((3, 5), 0.5)}
    certain = {'pred_score': torch.tensor([0.0, 1.0, 0.0, 0.0]), 'entropy_map': torch.tensor([[0.0, 2.0]])}
    results = evaluate(EntropyMetric(), [uniform, uniform, certain])
    assert results == pytest.approx({'wsol/entropy': 2 * math.log(4) / 3, 'wsol/location_entropy': 2 / 3}, abs=1e-6)


def test_entropy_of_the_model_goes_before_the_scores():
    samples = [{'entropy': torch.tensor(0.75), 'pred_score': torch.full((4,), 0.25)}]
    assert evaluate(EntropyMetric(), samples) == {'wsol/entropy': 0.75}


def test_nothing_to_read_is_named():
    with pytest.raises(KeyError, match=r"a\.jpg has no 'pred_score', which EntropyMetric reads"):
        EntropyMetric().process(None, [{'img_path': 'a.jpg'}])
