# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The tie between a pooling neck and its head: by reference, and nobody's sub-module."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mmentropy.models.necks.tied_pooling import TiedPooling


class Mean(TiedPooling):
    def pool(self, features: torch.Tensor) -> torch.Tensor:
        return features.mean((2, 3))


def test_a_tied_layer_stays_the_heads_alone():
    neck, linear = Mean(), nn.Linear(8, 3)
    assert neck.tie_repr() == 'not tied yet'
    neck.tie(linear)
    assert neck.classifier is linear
    assert not neck.state_dict()
    assert neck.tie_repr() == 'tied'
    model = nn.ModuleList([neck, linear])
    twin = copy.deepcopy(model)
    assert twin[0].classifier is twin[1]


def test_its_own_scorer_goes_first():
    neck = Mean()
    neck.tie(nn.Linear(8, 3))
    neck.scorer = nn.Linear(8, 5)
    assert neck.classifier is neck.scorer
    assert set(neck.state_dict()) == {'scorer.weight', 'scorer.bias'}


def test_earlier_stages_are_averaged():
    stages = torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[5.0, 7.0]]]])
    assert [part.item() for part in Mean()(stages)] == [2.0, 6.0]


def test_without_a_tie_the_error_says_how():
    with pytest.raises(ValueError, match='Mean has no classifier to read: use it inside'):
        _ = Mean().classifier
