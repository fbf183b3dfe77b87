# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""(1 + M) x, and a backbone that stays itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS, DefaultScope

from mmentropy.models.backbones import ResidualAttention, ResidualAttentionBackbone

PLAIN = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8)


def test_formula():
    torch.manual_seed(0)
    module, x = ResidualAttention(4, reduction=2).eval(), torch.randn(2, 4, 6, 5)
    torch.nn.init.normal_(module.expand.weight)
    inner = F.conv2d(F.max_pool2d(x, 3, 2, 1), module.conv.weight, padding=1) / (1 + 1e-5) ** 0.5
    inner = F.interpolate(inner.relu(), (6, 5), mode='bilinear', align_corners=False)
    mask = torch.einsum('oi,bihw->bohw', module.expand.weight[..., 0, 0], inner).sigmoid()
    torch.testing.assert_close(module(x), x + mask * x)


def test_the_backbone_is_its_own_with_one_child_more():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        plain = MODELS.build(PLAIN)
    attentive = ResidualAttentionBackbone(PLAIN)
    plain.eval(), attentive.eval()  # the host's return nothing
    extra = attentive.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert {key.split('.')[0] for key in extra} == {'residual_attention'}
    image = torch.randn(1, 3, 64, 64)
    # M is 1/2 where its last convolution is still zero.
    torch.testing.assert_close(attentive(image)[0], 1.5 * plain(image)[0])
