# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Global maximum of features and of scores, in numbers."""

from __future__ import annotations

import torch
from torch import nn

from mmentropy.models.necks import ClassScores, GlobalMaxPooling

FEATURES = torch.tensor([[[[1.0, 3.0]], [[5.0, -2.0]]]])


def test_highest_location_of_each_channel():
    assert GlobalMaxPooling()(FEATURES).tolist() == [[3.0, 5.0]]
    assert GlobalMaxPooling(mix=0.5)(FEATURES).tolist() == [[2.5, 3.25]]


def test_highest_score_of_each_class():
    classifier = nn.Linear(2, 1)
    classifier.load_state_dict({'weight': torch.tensor([[1.0, 1.0]]), 'bias': torch.tensor([10.0])})
    neck = GlobalMaxPooling(of='scores')
    neck.tie(classifier)
    found = neck((FEATURES, FEATURES))  # of a backbone's stages the last one
    assert isinstance(found, ClassScores)
    assert found.scores.tolist() == [[16.0]]  # 1 + 5 against 3 − 2; its features' maxima would give 18
