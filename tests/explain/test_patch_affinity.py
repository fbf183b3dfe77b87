# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from small_nets import make

from mmentropy.explain import CAM
from mmentropy.explain.patch_affinity import patch_affinity
from mmentropy.models import LocalizationClassifier
from mmentropy.ops.mapping.class_maps import class_activation_maps
from mmentropy.ops.mapping.reading import Reading, attention_affinity, read_maps

ARCH = dict(embed_dims=12, num_layers=3, num_heads=3, feedforward_channels=24)
IMAGES = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def vit(**options) -> torch.nn.Module:
    torch.manual_seed(0)
    config = dict(type='VisionTransformer', arch=ARCH, img_size=32, patch_size=8, out_type='featmap', **options)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(config)
    model.eval()  # the host's gives None
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def by_hand(model: torch.nn.Module, images: torch.Tensor, blocks: int) -> torch.Tensor:
    """Mean attention among patches of the last blocks, from the projections' own outputs."""
    kept = []
    handles = [layer.attn.qkv.register_forward_hook(lambda m, i, o: kept.append(o)) for layer in model.layers]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    found = []
    for out in kept[-blocks:]:
        q, k, _ = out.reshape(len(images), -1, 3, 3, 4).permute(2, 0, 3, 1, 4)
        found.append((q @ k.transpose(-2, -1) / 4**0.5).softmax(-1).mean(1))
    return torch.stack(found).mean(0)[:, 1:, 1:]


@pytest.mark.parametrize('blocks', [1, 2, 8])
def test_is_the_mean_of_the_last_blocks(blocks):
    model = vit()
    found = patch_affinity(model, IMAGES, (4, 6), blocks=blocks, steps=2)
    torch.testing.assert_close(found, attention_affinity(by_hand(model, IMAGES, blocks), 2))
    full = patch_affinity(model, IMAGES, (4, 6), steps=200)
    torch.testing.assert_close(full.sum(2), torch.ones(2, 24), atol=1e-4, rtol=0)
    torch.testing.assert_close(full, full.transpose(1, 2))


def test_models_and_explainers_read_by_it():
    reading = Reading(relu=True, spread=2, affinity='attention')
    torch.manual_seed(1)
    neck, head = dict(type='GlobalAveragePooling'), dict(type='mmentropy.CAMHead', num_classes=3)
    model = LocalizationClassifier(vit(), neck, head, map_classes='all', reading=reading).eval()
    with torch.no_grad():
        features = model.backbone(IMAGES)[-1]
        raw = class_activation_maps(features, model.head.fc.weight)
        affinity = patch_affinity(model.backbone, IMAGES, (4, 6))
        samples = model.predict(IMAGES, [DataSample(), DataSample()])
        found = CAM(model, reading=reading)(IMAGES).maps
    rows = affinity / affinity.sum(2, keepdim=True)
    expected = (rows @ rows @ raw.clamp(min=0).flatten(2).transpose(1, 2)).transpose(1, 2).reshape(raw.shape)
    torch.testing.assert_close(torch.stack([sample.cams for sample in samples]), expected)
    torch.testing.assert_close(found, expected)


def test_without_attention_it_is_refused():
    with pytest.raises(ValueError, match=r"Net has no attention among the 8×8 locations .* use affinity='features'"):
        CAM(make(), reading='certain+attention')(torch.rand(1, 3, 32, 32))
    with pytest.raises(ValueError, match='spreads by attention and needs its affinity'):
        read_maps(
            torch.rand(1, 2, 3, 3), features=torch.rand(1, 4, 3, 3), reading=Reading(spread=1, affinity='attention')
        )
    with pytest.raises(ValueError, match=r"affinity of a reading must be one of .*, got 'colour'"):
        Reading(affinity='colour')
