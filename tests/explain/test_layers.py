# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Which layers are found beside the last map."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmentropy.explain.layers import deepest_layer, layers_of_every_size, named_layers


@pytest.fixture
def image():
    return torch.zeros(1, 3, 64, 64)


def test_stages_of_a_residual_network_and_blocks_of_a_transformer(image):
    import torchvision

    torch.manual_seed(0)
    resnet = torchvision.models.resnet18().eval()
    assert [one.name for one in layers_of_every_size(resnet, image, 3)] == ['layer4', 'layer3', 'layer2']
    assert [one.channels for one in layers_of_every_size(resnet, image, 2)] == [512, 256]
    vit = torchvision.models.VisionTransformer(64, 16, 6, 2, 32, 64, num_classes=5).eval()
    names = [one.name for one in layers_of_every_size(vit, image, 3)]
    assert [name.split('encoder_layer_')[1].split('.')[0] for name in names] == ['5', '3', '2']
    assert len({name.split('.', 3)[3] for name in names}) == 1


def test_the_deepest_layer_of_mmseg_and_of_torchvision(image):
    import torchvision
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS

    net = torchvision.models.segmentation.deeplabv3_resnet50(weights_backbone=None, num_classes=4).eval()
    assert deepest_layer(net, torch.zeros(1, 3, 96, 96)).name == 'backbone.layer4'
    backbone = dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, norm_cfg=dict(type='BN'))
    head = dict(type='FCNHead', in_channels=64, channels=8, num_classes=4, num_convs=1, norm_cfg=dict(type='BN'))
    with DefaultScope.overwrite_default_scope('mmseg'):
        config = dict(type='EncoderDecoder', backbone=backbone, decode_head=head, test_cfg=dict(mode='whole'))
        segmentor = MODELS.build(config).eval()
    found = deepest_layer(segmentor, image)
    assert (found.name, found.channels, found.dense) == ('backbone', 64, True)
    named = named_layers(segmentor, image, ['backbone.layer3', 'backbone.layer2'])
    assert [one.channels for one in named] == [32, 16]


def test_a_network_of_one_map_has_one_layer_and_names_are_checked(image):
    model = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    assert len(layers_of_every_size(model, image, 3)) == 1
    assert [one.channels for one in named_layers(model, image, ['0'])] == [8]
    with pytest.raises(KeyError, match='names no module'):
        named_layers(model, image, ['9'])
