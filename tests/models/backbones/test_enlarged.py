# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Larger last maps: names and weights stay, and every location looks at its own cell."""

import copy

import pytest
import torch
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmpretrain.models.backbones import ConvNeXt
from torch.nn import functional as F

from mmentropy.explain import CAM
from mmentropy.models import LocalizationClassifier
from mmentropy.models.backbones import EnlargedBackbone, InceptionV3CAM
from mmentropy.models.backbones.enlarged import _unstride

NARROW = dict(type='ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[4, 8, 12, 20]), gap_before_final_norm=False)


def test_enlarging_keeps_names_and_weights_and_an_even_kernel_is_averaged_about_its_cell():
    torch.manual_seed(0)
    coarse = ConvNeXt(**{k: v for k, v in NARROW.items() if k != 'type'})
    fine = EnlargedBackbone(dict(NARROW), stride_one=['downsample_layers.3'])
    assert type(fine) is ConvNeXt
    coarse.eval(), fine.eval()
    fine.load_state_dict(coarse.state_dict(), strict=True)
    x = torch.randn(1, 12, 6, 8)
    with torch.no_grad():
        norm, conv = coarse.downsample_layers[3]
        between = F.conv2d(norm(x), conv.weight, conv.bias)  # (5, 7): location j lies between the cells j and j + 1
        found = copy.deepcopy(fine).downsample_layers[3](x)
        torch.testing.assert_close(between[:, :, ::2, ::2], coarse.downsample_layers[3](x))
    assert found.shape == (1, 20, 6, 8)
    corners = [between[:, :, i : 4 + i, j : 6 + j] for i in (0, 1) for j in (0, 1)]
    torch.testing.assert_close(found[:, :, 1:-1, 1:-1], sum(corners) / 4)


@pytest.mark.parametrize(
    'layer',
    [
        torch.nn.Conv2d(1, 1, 2, 2),
        torch.nn.Conv2d(1, 1, (4, 3), 2, bias=False),
        torch.nn.Conv2d(1, 1, 2, 2, dilation=3, padding_mode='reflect'),
        torch.nn.MaxPool2d(2, 2, ceil_mode=True),
        torch.nn.AvgPool2d(4, 2),
        torch.nn.MaxPool2d(3, 2),
        Conv2dAdaptivePadding(1, 1, 3, 2),
    ],
    ids=lambda layer: repr(layer).partition(',')[0],
)
def test_an_enlarged_layer_looks_at_its_own_cell(layer):
    """The centroid of what a location depends upon is that location, and the size stays."""
    if isinstance(layer, torch.nn.Conv2d):
        torch.nn.init.ones_(layer.weight)
    assert _unstride(layer)
    # A peak keeps a maximum pooling symmetric: each window that holds it passes its slope on to it.
    for i, j in ((8, 8), (7, 9)):
        x = torch.zeros(1, 1, 17, 16)
        if isinstance(layer, torch.nn.MaxPool2d):
            x[0, 0, i, j] = 1
            response = layer(x)[0, 0]
        else:
            x.requires_grad_()
            response = torch.autograd.grad(layer(x)[0, 0, i, j], x)[0][0, 0]
        assert layer(x).shape == x.shape
        rows, columns = torch.meshgrid(torch.arange(17.0), torch.arange(16.0), indexing='ij')
        centroid = [float((grid * response).sum() / response.sum()) for grid in (rows, columns)]
        assert centroid == pytest.approx([i, j], abs=1e-4)


def test_the_enlarged_map_is_where_it_is_drawn():
    backbone = EnlargedBackbone(dict(NARROW), stride_one=['downsample_layers.3'])
    model = LocalizationClassifier(
        backbone, dict(type='GlobalAveragePooling'), dict(type='mmentropy.CAMHead', num_classes=3)
    )
    found = CAM(model)(torch.zeros(1, 3, 64, 96), 0)
    assert found.maps.shape == (1, 1, 4, 6)
    assert found.grid.is_half_pixel((4, 6))


def test_enlarging_a_pooling_and_an_inception_block():
    inception = EnlargedBackbone(dict(type='mmentropy.InceptionV3CAM', out_channels=8), stride_one=['Mixed_6a'])
    block, plain = inception.Mixed_6a.eval(), InceptionV3CAM(out_channels=8).Mixed_6a.eval()
    plain.load_state_dict(block.state_dict())
    x = torch.randn(1, 288, 9, 9)
    with torch.no_grad():
        # The original has no padding: its locations are the odd ones of the padded block without stride.
        torch.testing.assert_close(block(x)[:, :, 1:-1:2, 1:-1:2], plain(x), rtol=1e-4, atol=1e-4)


def test_errors_of_enlarging_name_the_layer():
    with pytest.raises(ValueError, match=r"no layer 'stages.7'; there are stages.0"):
        EnlargedBackbone(dict(NARROW), stride_one=['stages.7'])
    with pytest.raises(ValueError, match=r"nothing in 'stages.1' of ConvNeXt has a stride"):
        EnlargedBackbone(dict(NARROW), stride_one=['stages.1'])
    with pytest.raises(ValueError, match=r"'stages.1' of ConvNeXt has weights"):
        EnlargedBackbone(dict(NARROW), drop=['stages.1'])
