# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The second classifier by hand."""

import torch
from erasers import build, samples

from mmentropy.ops.erasing.feature_erasing import (
    acol_mask,
    fuse_maps,
    label_map,
)


def test_acol_loss_and_maps_by_hand(images):
    model = build(dict(type='mmentropy.ACoL', threshold=0.6, weight=0.5)).train()
    losses = model(images, samples(), mode='loss')
    acol = model.erasing[0]
    f = model.backbone(images)[-1]
    weight = model.head.fc.weight
    maps = torch.einsum('cd,bdhw->bchw', weight, f)
    labels = torch.eye(7)[[6, 0, 3]]
    region = acol_mask(label_map(maps, labels), 0.6)
    erased_share = 1 - region.mean()
    assert 0 < erased_share < 0.9
    scores = acol.adversary((f * region).mean((2, 3)))
    expected = 0.5 * torch.nn.functional.cross_entropy(scores, torch.tensor([6, 0, 3]))
    torch.testing.assert_close(losses['loss_acol'], expected)
    with torch.no_grad():
        sample = model.eval()(images, samples(), mode='predict')[1]
        f = model.backbone(images)[-1][1]
        first, second = (torch.einsum('kd,dhw->khw', w[sample.cam_labels], f) for w in (weight, acol.adversary.weight))
    torch.testing.assert_close(sample.cams, fuse_maps(first, second), rtol=1e-4, atol=1e-4)
