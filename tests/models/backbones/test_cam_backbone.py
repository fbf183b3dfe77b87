# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the cut-down backbones share: weights that do not fit are refused, and a frozen body stays as it is."""

from __future__ import annotations

import pytest
import torch

from mmentropy.models.backbones import VGGGAP, AlexNetGAP


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({'stem.weight': torch.zeros(3)}, tmp_path / 'w.pth')
    with pytest.raises(ValueError, match='no entry fits AlexNetGAP'):
        AlexNetGAP(init_cfg={'type': 'Pretrained', 'checkpoint': str(tmp_path / 'w.pth')}).init_weights()


def test_frozen_body_gets_no_gradients_and_keeps_its_statistics():
    backbone = VGGGAP(11, batch_norm=True, out_channels=8, frozen=True).train()
    before = backbone.features[1].running_mean.clone()
    backbone(torch.randn(2, 3, 32, 32))[0].sum().backward()
    assert all(p.grad is None for p in backbone.features.parameters())
    assert backbone.cam_conv[0].weight.grad.abs().sum() > 0
    torch.testing.assert_close(backbone.features[1].running_mean, before)
