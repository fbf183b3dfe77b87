# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Self-produced guidance by hand."""

import torch
from erasers import build, samples

from mmentropy.ops.erasing.feature_erasing import (
    label_map,
)
from mmentropy.ops.erasing.self_guidance import guidance_loss


def test_spg_losses_by_hand(images):
    pairs = ((0.1, 0.6), (0.2, 0.5), (0.3, 0.55))
    model = build(dict(type='mmentropy.SPG', channels=4, thresholds=pairs, weight=2.0)).train()
    losses = model(images, samples(), mode='loss')
    spg, seen = model.erasing[0], {}
    for name in ('layer2', 'layer3'):
        model.backbone.get_submodule(name).register_forward_hook(lambda m, i, out, n=name: seen.update({n: out}))
    f = model.backbone(images)[-1]
    attention = label_map(model.head.maps(f), torch.eye(7)[[6, 0, 3]])
    shallow, deep = spg.shallow(seen['layer2']), spg.deep(seen['layer3'])
    assert shallow.shape == (3, 1, 4, 4)
    both = (
        torch.nn.functional.interpolate(shallow.sigmoid(), size=deep.shape[2:], mode='bilinear') + deep.sigmoid()
    ) / 2
    torch.testing.assert_close(losses['loss_spg_deep'], 2 * guidance_loss(deep, attention, *pairs[0]))
    torch.testing.assert_close(losses['loss_spg_shallow'], 2 * guidance_loss(shallow, deep.sigmoid(), *pairs[1]))
    torch.testing.assert_close(losses['loss_spg_last'], 2 * guidance_loss(spg.last(f), both, *pairs[2]))
    assert losses['loss_spg_deep'] > 0
