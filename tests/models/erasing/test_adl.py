# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Attention-based dropout: the mask on a layer, and how often."""

import pytest
import torch
from erasers import build

from mmentropy.models import ADL, RDAP
from mmentropy.ops.erasing.feature_erasing import (
    adl_drop_mask,
    self_attention,
)


def test_adl_multiplies_the_layers_output_by_its_mask(images):
    seen = {}
    for drop_rate in (None, 1.0, 0.0):
        erasing = [] if drop_rate is None else [dict(type='mmentropy.ADL', layers=('layer2',), drop_rate=drop_rate)]
        backbone = build(*erasing).train().backbone
        backbone.layer2.register_forward_hook(lambda m, i, out, key=drop_rate: seen.update({key: out.detach()}))
        backbone(images)
    attention = self_attention(seen[None])
    assert 0 < adl_drop_mask(attention).mean() < 1
    assert torch.equal(seen[1.0], seen[None] * adl_drop_mask(attention, 0.9))
    torch.testing.assert_close(seen[0.0], seen[None] * attention.sigmoid())


def test_rates_are_the_share_of_batches(images):
    erasers = [
        (ADL(drop_rate=0.25, importance=False), 0.25),
        (RDAP(drop_rate=0.6), 0.6),
        (ADL(drop_rate=1.0, prob=0.3), 0.3),
        (RDAP(drop_rate=1.0, prob=1.0), 1.0),
    ]
    features = torch.rand(2, 4, 6, 6) + 0.1
    torch.manual_seed(0)
    for eraser, rate in erasers:
        results = [eraser.act('layer', features) for _ in range(2000)]
        share = sum(out is not None and not torch.equal(out, features) for out in results) / 2000
        assert share == pytest.approx(rate, abs=0.05)  # four standard deviations
