# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The costs of seeds against loops over the locations, and scipy's Kullback-Leibler divergence."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy as kl

from mmentropy.ops.seeding.seed_losses import balanced_seed_cost, boundary_divergence, one_hot_cues


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))


def test_one_hot_cues():
    label = torch.tensor([[[0, 2], [255, 1]]])
    cues = one_hot_cues(label, 3)
    assert cues.shape == (1, 3, 2, 2)
    for y, x in np.ndindex(2, 2):
        assert cues[0, :, y, x].tolist() == [float(label[0, y, x] == c) for c in range(3)]
    assert one_hot_cues(label.where(label != 255, -1), 3, ignore_index=-1).equal(cues)


@pytest.mark.parametrize('weighted', [False, True])
def test_balanced_cost_by_loops(logits, weighted):
    generator = torch.Generator().manual_seed(1)
    cues = (torch.rand(logits.shape, generator=generator) < 0.2).float()  # also several a location
    cues[1, 0] = 0  # an image without a background cue
    cues[2] = 0  # and one without any
    weight = torch.rand(3, 5, 6, generator=generator) if weighted else None
    p = logits.softmax(1)
    for b, got in enumerate(balanced_seed_cost(logits, cues, weight)):
        parts = {True: [], False: []}
        for c, y, x in np.ndindex(4, 5, 6):
            if cues[b, c, y, x]:
                factor = float(weight[b, y, x]) if weighted else 1
                parts[c > 0].append(-factor * math.log(p[b, c, y, x]))
        assert float(got) == pytest.approx(sum(np.mean(costs) for costs in parts.values() if costs), rel=1e-5)


def test_divergence_is_that_of_scipy(logits):
    q = torch.rand(logits.shape, generator=torch.Generator().manual_seed(1))
    q[0, 1] = 0  # 0 · log 0
    q /= q.sum(1, keepdim=True)
    q[1, :, 2, 3] = 0  # left out
    p = logits.softmax(1).double().numpy()
    got = boundary_divergence(logits, q)
    for b, y, x in np.ndindex(3, 5, 6):
        want = 0.0 if (b, y, x) == (1, 2, 3) else kl(q[b, :, y, x].double().numpy(), p[b, :, y, x])
        assert float(got[b, y, x]) == pytest.approx(want, rel=1e-4, abs=1e-6)


def test_the_gradient_of_the_divergence_is_p_minus_q(logits):
    q = torch.rand(logits.shape, generator=torch.Generator().manual_seed(1)).softmax(1).requires_grad_()
    logits.requires_grad_()
    boundary_divergence(logits, q).sum().backward()
    torch.testing.assert_close(logits.grad, (logits.softmax(1) - q).detach())
    assert q.grad is None


def test_shapes_must_agree(logits):
    for cost in (balanced_seed_cost, boundary_divergence):
        with pytest.raises(ValueError, match='must have one shape'):
            cost(logits, logits[:, :-1])
