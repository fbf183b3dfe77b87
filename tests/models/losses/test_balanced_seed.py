# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""DSRG's loss against loops; both seed losses inside an unmodified mmseg decode head."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mmentropy.models.losses import BalancedSeedLoss, BoundaryConstraintLoss
from mmentropy.registry import MODELS


def balanced_by_loops(logits, label):
    p = logits.softmax(1).numpy()
    total = 0.0
    for b in range(len(p)):
        parts: dict[bool, list[float]] = {True: [], False: []}
        for y, x in np.ndindex(*label.shape[1:]):
            c = int(label[b, y, x])
            if c != 255:
                parts[c > 0].append(-math.log(p[b, c, y, x]))
        total += sum(np.mean(costs) for costs in parts.values() if costs)
    return total / len(p)


def test_balanced_seed_loss(case):
    logits, label = case
    loss = MODELS.build(dict(type='mmentropy.BalancedSeedLoss', loss_weight=2.0))
    assert float(loss(logits, label)) == pytest.approx(2 * balanced_by_loops(logits, label), rel=1e-6)
    cues = torch.stack([label == c for c in range(4)], dim=1)
    torch.testing.assert_close(loss(logits, cues), loss(logits, label))
    # Twice the background seeds must not halve what the objects say: the two parts are normalised apart.
    assert float(loss(logits, label, avg_factor=1)) == pytest.approx(6 * balanced_by_loops(logits, label), rel=1e-6)
    half = loss(logits, label, weight=torch.full(label.shape, 0.5))
    assert float(half) == pytest.approx(balanced_by_loops(logits, label), rel=1e-6)


def test_balanced_seed_loss_without_seeds_is_zero():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = BalancedSeedLoss()(logits, torch.full((1, 2, 2), 255))
    loss.backward()
    assert loss == 0
    assert torch.isfinite(logits.grad).all()


def test_shapes_must_agree(case):
    logits, label = case
    for loss in (BalancedSeedLoss(), BoundaryConstraintLoss()):
        with pytest.raises(ValueError, match='must have one shape'):
            loss(logits, label[:, :-1])


def test_in_an_mmseg_decode_head():
    """mmseg's own FCNHead calls both by the names that it knows, and logs them as losses."""
    pytest.importorskip('mmseg', reason='mmsegmentation is not installed')
    from mmengine.registry import init_default_scope
    from mmengine.structures import PixelData
    from mmseg.registry import MODELS as MMSEG
    from mmseg.structures import SegDataSample

    init_default_scope('mmseg')
    head = MMSEG.build(
        dict(
            type='FCNHead',
            in_channels=4,
            channels=4,
            num_convs=1,
            num_classes=3,
            norm_cfg=dict(type='BN'),
            loss_decode=[
                dict(type='mmentropy.BalancedSeedLoss'),
                dict(type='mmentropy.BoundaryConstraintLoss', loss_weight=0.5),
            ],
        )
    ).eval()
    torch.manual_seed(1)
    features = [torch.randn(2, 4, 6, 6)]
    samples = []
    for _ in range(2):
        label = torch.randint(0, 3, (1, 12, 12))
        label[:, :3] = 255
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=label)))
    losses = head.loss(features, samples, None)
    logits = torch.nn.functional.interpolate(head(features), size=(12, 12), mode='bilinear', align_corners=False)
    labels = torch.cat([s.gt_sem_seg.data for s in samples])
    assert float(losses['loss_seed']) == pytest.approx(balanced_by_loops(logits.detach().double(), labels), rel=1e-4)
    want = 0.5 * torch.nn.functional.cross_entropy(logits, labels, ignore_index=255)
    torch.testing.assert_close(losses['loss_boundary'], want)
