# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The neck reduces, then pools by the formula; in a classifier it trains."""

from __future__ import annotations

import torch
from mmpretrain.structures import DataSample

from mmentropy.models import LocalizationClassifier
from mmentropy.models.necks import SecondOrderPooling
from mmentropy.ops.certainty.second_order import second_order_pool


def test_the_last_map_is_reduced_and_pooled():
    torch.manual_seed(0)
    neck, maps = SecondOrderPooling(6, channels=3, iterations=2).eval(), torch.randn(2, 6, 4, 4)
    (pooled,) = neck((torch.zeros(2, 1, 8, 8), maps))
    reduced = (torch.einsum('oi,bihw->bohw', neck.reduce[0].weight[..., 0, 0], maps) / (1 + 1e-5) ** 0.5).relu()
    torch.testing.assert_close(pooled, second_order_pool(reduced, 2))
    assert 'iterations=2' in repr(neck)


def test_a_classifier_with_it_trains():
    model = LocalizationClassifier(
        dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),
        dict(type='mmentropy.SecondOrderPooling', in_channels=64, channels=8),
        dict(type='LinearClsHead', in_channels=36, num_classes=3),
    )
    samples = [DataSample().set_gt_label(i) for i in (0, 1)]
    model.loss(torch.randn(2, 3, 64, 64), samples)['loss'].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
