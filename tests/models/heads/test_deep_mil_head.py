# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Attention, the pooled logits and the map, written out location by location."""

from __future__ import annotations

import pytest
import torch

from mmentropy.models.heads import DeepMILHead

FEATURES = torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('gated', [False, True])
def test_formula(gated):
    torch.manual_seed(1)
    head = DeepMILHead(3, 6, hidden=5, gated=gated)
    logits, maps = head((torch.zeros(1), FEATURES)), head.maps(FEATURES, torch.tensor([[2, 0], [1, 1]]))
    for b in range(2):
        instances = FEATURES[b].flatten(1).T
        energy = [
            head.score(torch.tanh(head.project(f)) * (torch.sigmoid(head.gate(f)) if gated else 1)) for f in instances
        ]
        attention = torch.cat(energy).softmax(0)
        torch.testing.assert_close(logits[b], head.fc((attention[:, None] * instances).sum(0)))
        torch.testing.assert_close(maps[b, 1].flatten(), attention)
    assert torch.equal(maps[:, 0], maps[:, 1])


def test_refusals():
    with pytest.raises(ValueError, match='leave the neck out'):
        DeepMILHead(3, 6)(torch.zeros(2, 6))
    with pytest.raises(ValueError, match='auxiliary_gap belongs to CAMHead'):
        DeepMILHead(3, 6, auxiliary_gap=0.5)
