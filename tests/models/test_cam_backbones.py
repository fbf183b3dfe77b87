# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The CAM paper's backbones: cut at the right place, with the published weights of their originals."""

from __future__ import annotations

import pytest
import torch
import torchvision
from mmengine.logging import MMLogger

from mmentropy.models.backbones import VGGGAP, AlexNetGAP, GoogLeNetGAP


def googlenet_4e(model, x):
    for name in ('conv1', 'maxpool1', 'conv2', 'conv3', 'maxpool2', 'inception3a', 'inception3b', 'maxpool3'):
        x = getattr(model, name)(x)
    for letter in 'abcde':
        x = getattr(model, f'inception4{letter}')(x)
    return x


class OnlyFeatures(torch.nn.Module):
    """VGG without its 124 million fully connected weights, but for a bias that must not load."""

    def __init__(self, features):
        super().__init__()
        self.features, self.classifier = features, torch.nn.Linear(1, 9)


CASES = {
    'alexnet': (AlexNetGAP, lambda: torchvision.models.alexnet(), lambda m, x: m.features[:12](x), 13),
    'vgg11': (
        lambda **k: VGGGAP(11, **k),
        lambda: OnlyFeatures(torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs['A'])),
        lambda m, x: m.features[:20](x),
        14,
    ),
    'googlenet': (
        GoogLeNetGAP,
        lambda: torchvision.models.googlenet(weights=None, aux_logits=True, init_weights=False),
        googlenet_4e,
        14,
    ),
}


@pytest.mark.parametrize('name', CASES)
def test_published_weights_load_and_only_the_block_starts_fresh(name, tmp_path, monkeypatch):
    make, original, upto, side = CASES[name]
    torch.manual_seed(0)
    reference = original().eval()
    weights = {k: v for k, v in reference.state_dict().items() if v.numel() < 4e6}  # not the largest linear layers
    torch.save(weights, tmp_path / 'w.pth')
    said = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'info', said.append)
    backbone = make(init_cfg={'type': 'Pretrained', 'checkpoint': str(tmp_path / 'w.pth')})
    backbone.init_weights()
    backbone.eval()
    assert len(said) == 1
    assert said[0].endswith('fresh: cam_conv.0')
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        body = upto(reference, image)
        (found,) = backbone(image)
        torch.testing.assert_close(backbone.body(image), body)
        expected = torch.relu(torch.nn.functional.conv2d(body, backbone.cam_conv[0].weight, padding=1))
    torch.testing.assert_close(found, expected)
    assert found.shape == (1, 1024, side, side)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({'stem.weight': torch.zeros(3)}, tmp_path / 'w.pth')
    with pytest.raises(ValueError, match='no entry fits AlexNetGAP'):
        AlexNetGAP(init_cfg={'type': 'Pretrained', 'checkpoint': str(tmp_path / 'w.pth')}).init_weights()
    with pytest.raises(ValueError, match='depth must be'):
        VGGGAP(12)


def test_frozen_body_gets_no_gradients_and_keeps_its_statistics():
    backbone = VGGGAP(11, batch_norm=True, out_channels=8, frozen=True).train()
    before = backbone.features[1].running_mean.clone()
    backbone(torch.randn(2, 3, 32, 32))[0].sum().backward()
    assert all(p.grad is None for p in backbone.features.parameters())
    assert backbone.cam_conv[0].weight.grad.abs().sum() > 0
    torch.testing.assert_close(backbone.features[1].running_mean, before)
