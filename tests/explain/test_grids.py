# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Grids by gradients, and which of followed, measured and half-pixel is taken."""

from __future__ import annotations

import gc
import warnings
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmentropy.explain import dissect, grids
from mmentropy.explain.anatomy import Anatomy
from mmentropy.explain.grids import find_grid, measured_grid
from mmentropy.ops.mapping.geometry import MapGrid


class Classifier(nn.Module):
    """A body, a mean, a linear layer."""

    def __init__(self, body: nn.Module, channels: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.fc = body, nn.Linear(channels, 5)
        self.passes = 0

    def forward(self, x):
        self.passes += 1
        return self.fc(self.body(x).mean((2, 3)))


class Hidden(nn.Module):
    """A layer inside which nothing can be followed: its numbers leave PyTorch's operations and come back."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.from_numpy(x.numpy().copy())

        @staticmethod
        def backward(ctx, slope):
            return slope

    def forward(self, x):
        return self.Function.apply(x)


def strided(*between: nn.Module) -> nn.Module:
    convs = [nn.Conv2d(i, o, 3, 2, 1) for i, o in ((3, 8), (8, 8), (8, 8))]
    return nn.Sequential(convs[0], *between, *convs[1:])


RESNET_LIKE = MapGrid((0, 0), (8, 8), (64, 96))


@pytest.mark.parametrize('power', [1, 2])
def test_measured_on_positive_kernels(power):
    model = Classifier(strided())
    for parameter in model.body.parameters():
        nn.init.constant_(parameter, 0.1)
    found = measured_grid(model, None, torch.rand(2, 3, 64, 96), power)
    assert found.step == pytest.approx((8, 8), abs=1e-4)
    assert found.start == pytest.approx((0, 0), abs=1e-3)
    assert found.size == (64, 96)


def test_measured_follows_the_weights():
    # Kernels that only read their last row: the network looks one pixel further down at each of three strides.
    model = Classifier(strided())
    for conv in model.body:
        nn.init.zeros_(conv.weight)
        nn.init.constant_(conv.weight[:, :, 2, 1], 0.1)
    images = torch.rand(1, 3, 64, 96)
    assert measured_grid(model, None, images).start == pytest.approx((1 + 2 + 4, 0), abs=1e-4)
    assert find_grid(model, None, images, 'measured').start == pytest.approx((7, 0), abs=1e-4)
    assert find_grid(model, None, images) == RESNET_LIKE
    assert find_grid(model, None, images, 'half_pixel') is None


def test_step_taken_from_another_grid():
    # One place, measured in a map of which the rest does not matter.
    model = Classifier(strided())
    found = measured_grid(model, None, torch.rand(4, 3, 64, 96), block=1, like=RESNET_LIKE)
    assert found.step == (8, 8)
    assert found.start == pytest.approx((0, 0), abs=1.5)


def test_squares_are_estimated_by_signs():
    # Two channels that look at opposite sides: their sum's gradient is theirs, the squares count both alike.
    conv = nn.Conv2d(3, 2, 3, 1, 1, bias=False)
    nn.init.zeros_(conv.weight)
    conv.weight.data[0, :, 1, 0] = 3.0
    conv.weight.data[1, :, 1, 2] = 1.0
    model = Classifier(conv, 2)
    images = torch.rand(1, 3, 16, 16)
    assert measured_grid(model, None, images, power=2).start[1] == pytest.approx((-9 + 1) / 10, abs=1e-4)
    assert measured_grid(model, None, images, power=1).start[1] == pytest.approx((-3 + 1) / 4, abs=1e-4)


def test_cannot_be_followed_then_measured_then_half_pixel():
    model = Classifier(strided(Hidden()))
    for conv in model.body[::2]:
        nn.init.constant_(conv.weight, 0.1)
    nn.init.constant_(model.body[3].weight, 0.1)
    images = torch.rand(1, 3, 64, 96)
    with pytest.warns(UserWarning, match=r"layer 'body'.* could not be followed.* measured by gradients"):
        grid = find_grid(model, None, images)
    assert grid.start == pytest.approx((0, 0), abs=1e-3)

    class Mean(nn.Module):
        def forward(self, x):
            return F.adaptive_avg_pool2d(x, 8) * 0 + x.mean((2, 3), keepdim=True)

    blind = Classifier(nn.Sequential(Hidden(), nn.Conv2d(3, 8, 1), Mean()))
    with pytest.warns(UserWarning, match='drawn half-pixel'):
        assert find_grid(blind, Anatomy(blind.body, 'body', None, 'other', 8), torch.rand(1, 3, 64, 64)) is None


def test_found_once_for_each_size_and_forgotten_with_the_model():
    model = Classifier(strided())
    anatomy = dissect(model, torch.rand(1, 3, 64, 96))
    model.passes = 0
    for _ in range(3):
        assert find_grid(model, anatomy, torch.rand(2, 3, 64, 96)) == RESNET_LIKE
    assert model.passes == 1
    assert find_grid(model, anatomy, torch.rand(1, 3, 32, 32)) == MapGrid((0, 0), (8, 8), (32, 32))
    assert find_grid(model, 'body.1', torch.rand(1, 3, 32, 32)) == MapGrid((0, 0), (4, 4), (32, 32))
    # A name costs no pass of its own after the first: it was a second pass through the network for every view.
    model.passes = 0
    for _ in range(3):
        assert find_grid(model, 'body', torch.rand(1, 3, 96, 64)) == MapGrid((0, 0), (8, 8), (96, 64))
    assert model.passes == 2  # to find the layer, and to follow it
    model.body = strided(nn.MaxPool2d(2, 2))
    assert find_grid(model, 'body', torch.rand(1, 3, 96, 64)).step == (16, 16)  # another layer of this name
    gone = weakref.ref(model)
    del model, anatomy
    gc.collect()
    assert gone() is None


def test_nothing_is_said_where_all_is_well():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        find_grid(Classifier(strided()), None, torch.rand(1, 3, 64, 96))


def test_bad_options():
    model, images = Classifier(strided()), torch.rand(1, 3, 64, 96)
    with pytest.raises(ValueError, match='followed, measured, half_pixel'):
        find_grid(model, None, images, 'guess')
    with pytest.raises(ValueError, match='1 or 2'):
        measured_grid(model, None, images, power=3)
    assert grids.GRIDS[0] == 'followed'


@pytest.mark.parametrize('grid', ['followed', 'measured'])
def test_in_inference_mode(grid):
    """As a metric's loop may run: neither following nor gradients work on what is made in it."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, 3, 4, 1)
    nn.init.constant_(layer.weight, 0.1)
    model = Classifier(layer)
    with torch.inference_mode():
        found = find_grid(model, 'body', torch.randn(2, 3, 64, 96), grid)
    assert found.start == pytest.approx((0, 0), abs=1e-6)
    assert found.step == pytest.approx((4, 4), abs=1e-6)
