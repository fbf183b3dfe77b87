# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""SEC's loss against scipy's divergence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy as kl

from mmentropy.models.losses import BoundaryConstraintLoss


def test_boundary_loss(case):
    logits, label = case
    q = torch.rand(logits.shape, dtype=torch.float64)
    q[0, 1] = 0  # 0 · log 0
    q /= q.sum(1, keepdim=True)
    p = logits.softmax(1)
    want = np.mean([kl(q[b, :, y, x], p[b, :, y, x]) for b in range(3) for y in range(5) for x in range(6)])
    assert float(BoundaryConstraintLoss()(logits, q)) == pytest.approx(want, rel=1e-5)
    # A hard map is one-hot: the cross-entropy over the locations that count.
    want = torch.nn.functional.cross_entropy(logits, label, ignore_index=255)
    torch.testing.assert_close(BoundaryConstraintLoss()(logits, label), want, rtol=1e-5, atol=1e-6, check_dtype=False)
    # Zero where the prediction is already what the CRF wants, and its gradient is p − q.
    logits = q.clamp(min=1e-9).log().requires_grad_()
    assert float(BoundaryConstraintLoss()(logits, q)) == pytest.approx(0, abs=1e-6)


def test_boundary_gradient_is_p_minus_q(case):
    logits, _ = case
    logits = logits.float().requires_grad_()
    q = torch.rand(logits.shape).softmax(1)
    BoundaryConstraintLoss()(logits, q, avg_factor=1).backward()
    torch.testing.assert_close(logits.grad, logits.softmax(1).detach() - q, rtol=1e-4, atol=1e-5)
