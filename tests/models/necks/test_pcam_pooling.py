# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Probabilistic-CAM pooling in numbers, and that its weights learn."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mmentropy.models.necks import PCAMPooling


def tied(**options) -> PCAMPooling:
    neck, classifier = PCAMPooling(**options), nn.Linear(1, 1)
    classifier.load_state_dict({'weight': torch.ones(1, 1), 'bias': torch.zeros(1)})
    neck.tie(classifier)
    return neck


def test_locations_weigh_by_their_own_probability():
    features = torch.tensor([[[[1.0, 3.0]]]]).log()  # σ = 1/2 and 3/4, so the weights are 0.4 and 0.6
    assert tied()(features).scores.item() == pytest.approx(0.6 * math.log(3), rel=1e-6)
    assert tied(mix=0.5)(features).scores.item() == pytest.approx((0.6 + 0.5) / 2 * math.log(3), rel=1e-6)


def test_gradients_pass_through_the_weights():
    features = torch.zeros(1, 1, 1, 2, requires_grad=True)
    tied()(features + torch.tensor([1.0, 0.0])).scores.sum().backward()
    p, q = 1 / (1 + math.exp(-1)), 0.5
    # s = z p / (p + q) with z = 1: its slope is p / (p + q) + z q p' / (p + q)².
    assert features.grad[0, 0, 0, 0].item() == pytest.approx(p / (p + q) + q * p * (1 - p) / (p + q) ** 2, rel=1e-5)


def test_a_wrong_share_is_refused():
    with pytest.raises(ValueError, match='PCAMPooling: mix is the share'):
        PCAMPooling(mix=2)
