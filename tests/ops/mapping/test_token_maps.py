# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import pytest
import torch

from mmentropy.ops.mapping.token_maps import Layout, grid_size, infer_layout


@pytest.mark.parametrize(
    ('patches', 'image', 'expected'),
    [
        (196, (224, 224), (14, 14)),
        (280, (224, 320), (14, 20)),
        (280, (320, 224), (20, 14)),
        (12 * 12, (384, 384), (12, 12)),
        (16 * 16, (224, 224), (16, 16)),  # patch 14
        (
            4 * 7,
            (100, 200),
            (4, 7),
        ),  # patch 28, padded: 3.6 and 7.1 patches are no 4 x 7, but patch 27 rounded down is none
        (197, (224, 224), None),
    ],
)
def test_grid_size(patches, image, expected):
    assert grid_size(patches, image) == expected


@pytest.mark.parametrize('extra', [0, 1, 2, 5])
def test_tokens_become_the_map_they_came_from(extra):
    conv = torch.nn.Conv2d(3, 6, 16, 16)
    expected = conv(torch.rand(2, 3, 64, 96))
    tokens = torch.cat([torch.full((2, extra, 6), 9.0), expected.flatten(2).transpose(1, 2)], 1)
    layout = infer_layout(tuple(tokens.shape), (64, 96), 6, extra)
    assert layout == Layout('tokens', (4, 6), 6, extra)
    assert torch.equal(layout.to_map(tokens), expected)


def test_channels_last_and_first():
    first = torch.rand(1, 10, 4, 6)
    layout = infer_layout((1, 10, 4, 6), (64, 96))
    assert layout.kind == 'nchw'
    assert layout.to_map(first) is first
    last = infer_layout((1, 4, 6, 10), (64, 96))
    assert last == Layout('nhwc', (4, 6), 10)
    assert torch.equal(last.to_map(first.permute(0, 2, 3, 1)), first)


@pytest.mark.parametrize(
    ('shape', 'channels'),
    [((1, 12, 197, 197), 768), ((1, 512), None), ((1, 3, 50, 4), None), ((1, 197, 64), 768), ((1, 8, 300, 300), None)],
)
def test_what_is_no_map(shape, channels):
    assert infer_layout(shape, (224, 224), channels) is None


def test_channels_before_tokens():
    first = torch.rand(1, 10, 24)
    assert infer_layout((1, 10, 24), (64, 96)) is None
    layout = infer_layout((1, 10, 24), (64, 96), 10)
    assert layout == Layout('channels_first_tokens', (4, 6), 10)
    assert torch.equal(layout.to_map(first), first.reshape(1, 10, 4, 6))


def test_of_two_readings_of_tokens_the_width_decides():
    # 24 tokens of 96 channels, or 96 tokens of 24: both are grids of this image.
    assert infer_layout((1, 24, 96), (64, 96)) == Layout('tokens', (4, 6), 96)
    assert infer_layout((1, 24, 96), (64, 96), channels=96) == Layout('tokens', (4, 6), 96)
    assert infer_layout((1, 24, 96), (64, 96), channels=24) == Layout('channels_first_tokens', (8, 12), 24)
    assert infer_layout((1, 24, 96), (64, 96), kind='channels_first_tokens').size == (8, 12)


def test_extra_tokens_are_only_those_that_are_told():
    assert infer_layout((1, 20, 30), (224, 224)) is None  # 20 is 4 and a grid of 16
    assert infer_layout((1, 197, 768), (224, 224)) is None
    assert infer_layout((1, 197, 768), (224, 224), extra_tokens=1).size == (14, 14)
    assert infer_layout((1, 196, 768), (224, 224), extra_tokens=1) == Layout('tokens', (14, 14), 768)
