# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A bright square, networks of known kernels: every method's map, drawn by its grid, lies on the square."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mmentropy.explain import METHODS, build_explainer, find_grid
from mmentropy.ops.mapping.scaling import draw_maps

SIZE, SIDE = 192, 40


def conv(i, o, k, s=1, p=0, d=1):
    layer = nn.Conv2d(i, o, k, s, p, d, bias=False)
    nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
    return layer


class TFSame(nn.Module):
    """Padding to the right and below only, then a 3×3 of stride 2."""

    def __init__(self, i) -> None:
        super().__init__()
        self.pad, self.conv = nn.ZeroPad2d((0, 1, 0, 1)), conv(i, 4, 3, 2)

    def forward(self, x):
        return self.conv(self.pad(x))


#: Body, and the pixels by which half-pixel drawing is off.
BODIES = {
    'padded 3x3 stride 2': (lambda: [conv(3, 4, 3, 2, 1), conv(4, 4, 3, 2, 1), conv(4, 4, 3, 2, 1)], 3.5),
    'patches': (lambda: [conv(3, 4, 8, 8)], 0.0),
    '2x2 pooling': (lambda: [conv(3, 4, 3, 1, 1), *(nn.MaxPool2d(2) for _ in range(3))], 0.0),
    'dilated': (lambda: [conv(3, 4, 3, 2, 1), conv(4, 4, 3, 2, 1), conv(4, 4, 3, 2, 1), conv(4, 4, 3, 1, 2, 2)], 3.5),
    'asymmetric padding': (lambda: [TFSame(3), TFSame(4), TFSame(4)], -3.5),
}


class Network(nn.Module):
    """Four classes, of which the first is brightness."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.body, self.fc = nn.Sequential(*layers, nn.ReLU()), nn.Linear(4, 4)
        nn.init.zeros_(self.fc.bias)
        self.fc.weight.data = torch.tensor([[1.0], [-0.3], [-0.2], [-0.5]]).repeat(1, 4)

    def forward(self, x):
        return self.fc(self.body(x).mean((2, 3)))


def squares():
    """Squares at every phase of a step of 8, well inside; and the middle of each, (N, 2)."""
    corners = [(56 + i, 80 - i) for i in range(8)]
    images = torch.zeros(len(corners), 3, SIZE, SIZE)
    for image, (y, x) in zip(images, corners):
        image[:, y : y + SIDE, x : x + SIDE] = 1
    return images, np.array(corners) + (SIDE - 1) / 2


def centroid(one: np.ndarray) -> np.ndarray:
    weight = one - np.median(one)
    weight = np.where(np.abs(weight) > 0.05 * np.abs(weight).max(), weight, 0)
    y, x = np.mgrid[: one.shape[0], : one.shape[1]]
    return np.array([(weight * y).sum(), (weight * x).sum()]) / weight.sum()


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('name', BODIES)
def test_map_lies_on_the_square(name, method):
    build, off = BODIES[name]
    model = Network(build()).eval()
    images, middles = squares()
    explainer = build_explainer(method, model)
    maps = explainer(images, 0).maps[:, 0].double()
    grid = find_grid(model, explainer.anatomy, images)
    found = np.array([centroid(one) for one in draw_maps(maps, (SIZE, SIZE), grid, 'bilinear').numpy()])
    assert np.abs((found - middles).mean(axis=0)).max() < 0.3
    # And the field's drawing is off by as much as the arithmetic says.
    drawn = np.array([centroid(one) for one in draw_maps(maps, (SIZE, SIZE), None, 'bilinear').numpy()])
    assert (drawn - middles).mean(axis=0) == pytest.approx((off, off), abs=0.3)
