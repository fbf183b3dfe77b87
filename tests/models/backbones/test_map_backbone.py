# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Backbones that pool are set to give their map, or refused when the model is built."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from mmentropy.models.backbones.map_backbone import last_channels, map_backbone, read_last

VIT = dict(
    type='VisionTransformer',
    arch=dict(embed_dims=48, num_layers=2, num_heads=3, feedforward_channels=96),
    img_size=64,
)
CONVNEXT = dict(type='ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[4, 8, 12, 20]))


def build(backbone: dict | nn.Module, **options) -> nn.Module:
    torch.manual_seed(0)
    cfg = dict(
        type='mmentropy.LocalizationClassifier',
        backbone=backbone,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='mmentropy.CAMHead', num_classes=3),
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build({**cfg, **options}).eval()


def host(config: dict) -> nn.Module:
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(config)
    model.eval()  # some of mmpretrain's give nothing back
    return model


@pytest.mark.parametrize(
    ('backbone', 'option'),
    [
        (VIT, dict(out_type='featmap')),
        ({**VIT, 'out_type': 'avg_featmap'}, dict(out_type='featmap')),
        (CONVNEXT, dict(gap_before_final_norm=False)),
    ],
)
def test_the_option_is_set_and_the_model_trains(backbone, option):
    model = build(copy.deepcopy(backbone))
    named = host({**backbone, **option})
    named.load_state_dict(model.backbone.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model.backbone(images)[-1], named(images)[-1])
        (sample, _) = model(images, [DataSample().set_gt_label(i) for i in (0, 2)], mode='predict')
    assert sample.cams.shape[1:] == named(images)[-1].shape[2:]
    assert model(images, [DataSample().set_gt_label(i) for i in (0, 2)], mode='loss')['loss'].requires_grad


def test_the_option_is_set_inside_an_enlarged_backbone():
    model = build(dict(type='mmentropy.EnlargedBackbone', backbone=dict(CONVNEXT), stride_one=['downsample_layers.3']))
    assert model.backbone(torch.zeros(1, 3, 64, 64))[-1].shape == (1, 20, 4, 4)


def test_our_necks_need_a_map_as_well():
    neck = dict(type='mmentropy.EntropyPooling')
    model = build(dict(VIT), neck=neck, head=dict(type='LinearClsHead', num_classes=3))
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_other_heads_keep_the_backbone_as_it_is():
    model = build(dict(VIT), neck=None, head=dict(type='VisionTransformerClsHead', num_classes=3))
    assert model.backbone.out_type == 'cls_token'
    assert model.head.in_channels == 48


@pytest.mark.parametrize(
    ('backbone', 'message'),
    [
        (dict(type='InceptionV3', num_classes=7), r'InceptionV3 gives \(1, 7\) last, .* none of its options'),
        (
            dict(type='Conformer', arch=dict(embed_dims=48, channel_ratio=1, num_heads=3, depths=3), base_channels=16),
            r'Conformer gives \(1, 48\) last',
        ),
    ],
)
def test_a_backbone_without_a_map_is_refused_when_the_model_is_built(backbone, message):
    with pytest.raises(ValueError, match=message):
        build(backbone)
    with pytest.raises(ValueError, match=message):
        build(backbone, head=dict(type='mmentropy.CAMHead', num_classes=3, in_channels=48))


def test_a_backbone_that_is_built_already_is_refused_with_the_option_to_build_it_with():
    with pytest.raises(ValueError, match="build it with out_type='featmap'"):
        build(host(dict(VIT)))


def test_distilled_tokens_and_one_channel_are_read():
    distilled = build({**VIT, 'type': 'DistilledVisionTransformer'})
    assert distilled.backbone(torch.zeros(1, 3, 64, 64))[-1].shape == (1, 48, 4, 4)
    lenet = build(dict(type='LeNet5'))
    assert (lenet.head.in_channels, lenet.backbone(torch.zeros(1, 1, 64, 64))[-1].shape[2:]) == (120, (9, 9))


def test_a_window_that_divides_only_some_images():
    backbone = dict(
        type='SwinTransformerV2',
        arch=dict(embed_dims=12, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8], extra_norm_every_n_blocks=0),
        img_size=256,
    )
    assert last_channels(host(backbone)) == 96


class Foreign(nn.Module):
    """Gives its map in a layout of one's choice, behind an earlier one."""

    def __init__(self, layout: str) -> None:
        super().__init__()
        self.layout, self.body = layout, nn.Conv2d(3, 10, 16, 16)
        if layout == 'tokens with a class token':
            self.cls_token = nn.Parameter(torch.randn(1, 1, 10))

    def forward(self, x):
        features = self.body(x)
        tokens = features.flatten(2).transpose(1, 2)
        if self.layout == 'tokens with a class token':
            tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1)
        last = features.permute(0, 2, 3, 1) if self.layout == 'channels last' else tokens
        return (x, last)


@pytest.mark.parametrize('layout', ['channels last', 'tokens', 'tokens with a class token'])
def test_other_layouts_are_turned_for_images_of_any_proportion(layout):
    backbone = Foreign(layout)
    names = list(backbone.state_dict())
    images = torch.randn(2, 3, 64, 96)
    expected = backbone.body(images)
    model = build(backbone)
    assert model.head.in_channels == 10
    assert list(model.backbone.state_dict()) == names
    assert torch.equal(copy.deepcopy(model).backbone(images)[-1], expected)
    assert torch.equal(model.backbone(images)[0], images)


def test_what_takes_no_image_at_all_is_left_to_the_caller():
    class Odd(nn.Module):
        def forward(self, x):
            raise TypeError('two inputs, please')

    odd = Odd()
    assert read_last(odd) == (None, None)
    assert map_backbone(odd) is odd
    with pytest.raises(ValueError, match=r'say how many channels it gives: head=dict\(in_channels'):
        last_channels(odd)


def test_the_probe_leaves_no_trace():
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    backbone[0].weight.requires_grad_(False)
    before = copy.deepcopy(backbone.state_dict())
    state = torch.get_rng_state()
    assert last_channels(backbone) == 4
    assert torch.equal(torch.get_rng_state(), state)
    assert backbone.training
    assert [p.requires_grad for p in backbone.parameters()] == [False, True, True, True]
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
