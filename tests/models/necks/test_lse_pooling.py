# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Log-sum-exp pooling in numbers: a formula, and its two limits."""

from __future__ import annotations

import math

import pytest
import torch

from mmentropy.models.necks import LSEPooling

FEATURES = torch.tensor([[[[0.0, 2.0]]]])


@pytest.mark.parametrize('r', [0.5, 1.0, 5.0])
def test_formula(r):
    expected = math.log((1 + math.exp(2 * r)) / 2) / r
    assert LSEPooling(r, of='features')(FEATURES).item() == pytest.approx(expected, rel=1e-6)


def test_from_the_mean_to_the_maximum():
    assert LSEPooling(0, of='features')(FEATURES).item() == 1.0
    assert LSEPooling(0, of='features').neutral
    assert LSEPooling(math.inf, of='features')(FEATURES).item() == 2.0


def test_options():
    assert 'r=4.0' in repr(LSEPooling(r=4.0))
    with pytest.raises(ValueError, match='LSEPooling: r must be at least 0'):
        LSEPooling(r=-1)
