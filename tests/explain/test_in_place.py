# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A bright square, networks of known kernels: every method's map, drawn by its grid, lies on the square."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_nets import PLACED, VIT_METHODS, Transformer
from torch import nn

from mmentropy.explain import build_explainer, find_grid
from mmentropy.ops.mapping.geometry import MapGrid
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


#: Maps of pixels, and options that save time.
PIXELWISE = ('input_gradient', 'smooth_grad')
FEW = {'smooth_grad': {'samples': 2}}
#: What several views do is the same for all methods: these stand for the rest.
SEVERAL = ('cam', 'entropy', 'entropy_cam', 'grad_cam', 'grad_cam++', 'xgrad_cam', 'layer_cam', 'eigen_cam')


@pytest.mark.parametrize('method', [m for m in PLACED if m not in VIT_METHODS])
@pytest.mark.parametrize('name', BODIES)
def test_map_lies_on_the_square(name, method):
    build, off = BODIES[name]
    if method in PIXELWISE and name == '2x2 pooling':
        return  # of equal numbers a maximum hands its gradient to the first: it has no middle
    model = Network(build()).eval()
    images, middles = squares()
    if method == 'smooth_grad':  # on a background of zeros noise makes half of the network speak
        images = images - 0.4
    explainer = build_explainer(method, model, **FEW.get(method, {}))
    explained = explainer(images, 0)
    maps = explained.maps[:, 0].double()
    if method not in (*PIXELWISE, 'refine_cam'):
        assert explained.grid == find_grid(model, explainer.anatomy, images)
    found = np.array([centroid(one) for one in draw_maps(maps, (SIZE, SIZE), explained.grid, 'bilinear').numpy()])
    assert np.abs((found - middles).mean(axis=0)).max() < 0.3
    if method == 'refine_cam':
        return  # its locations are those of a finer layer
    # And the field's drawing is off by as much as the arithmetic says; pixels are where they are.
    drawn = np.array([centroid(one) for one in draw_maps(maps, (SIZE, SIZE), None, 'bilinear').numpy()])
    off = 0 if method in PIXELWISE else off
    assert (drawn - middles).mean(axis=0) == pytest.approx((off, off), abs=0.3)


class Looking(Transformer):
    """A class token that looks at bright patches, and reads how bright they are."""

    def __init__(self) -> None:
        super().__init__(class_token=True, width=4, heads=1, blocks=2)
        self.norm = nn.Identity()
        nn.init.zeros_(self.cls_token)
        nn.init.constant_(self.patches.weight, 1 / 192)
        nn.init.zeros_(self.patches.bias)
        for block in self.blocks:
            eye = torch.eye(4)
            block.qkv.weight.data = torch.cat([0 * eye, 6 * eye, eye])
            block.qkv.bias.data = torch.tensor([1.0] * 4 + [0.0] * 8)
            block.out.weight.data, block.out.bias.data = eye.clone(), torch.zeros(4)
        self.fc.weight.data[0] = 1


@pytest.mark.parametrize('method', VIT_METHODS)
def test_attention_lies_on_the_square(method):
    images, middles = squares()
    found = build_explainer(method, Looking().eval())(images, 0)
    assert found.grid == MapGrid((3.5, 3.5), (8, 8), (SIZE, SIZE))
    assert np.abs((place(found) - middles).mean(axis=0)).max() < 0.3


def place(found):
    """Middles (N, 2) of an explanation's maps, drawn by its own grid."""
    return np.array([centroid(one) for one in draw_maps(found.maps[:, 0].double(), (SIZE, SIZE), found.grid).numpy()])


@pytest.mark.parametrize('method', SEVERAL)
@pytest.mark.parametrize('name', BODIES)
def test_several_sizes_and_mirrored_maps_lie_on_the_square(name, method):
    """By half-pixel drawing the mirrored views take back the error in x, and the scales change it in y."""
    build, off = BODIES[name]
    model = Network(build()).eval()
    images, middles = squares()
    views = dict(scales=(1, 0.5, 1.5), flip=True)
    found = build_explainer(method, model, **views)(images, 0)
    assert found.maps.shape[2:] == (SIZE // 4, SIZE // 4)
    assert found.grid.is_half_pixel((SIZE // 4, SIZE // 4))
    assert np.abs((place(found) - middles).mean(axis=0)).max() < 0.3
    drawn = place(build_explainer(method, model, **views, grid='half_pixel')(images, 0))
    assert (drawn - middles).mean(axis=0)[1] == pytest.approx(0, abs=0.4)
    if off:
        # weighed by the scales' share: the error of an input half as large is twice as large in the image
        assert abs((drawn - middles).mean(axis=0)[0]) > 2.5


@pytest.mark.parametrize('name', BODIES)
def test_a_symmetric_image_has_a_symmetric_map(name):
    model = Network(BODIES[name][0]()).eval()
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    images = images + images.flip(3)
    found = build_explainer('cam', model, flip=True)(images)
    drawn = draw_maps(found.maps, (SIZE, SIZE), found.grid)
    torch.testing.assert_close(drawn, drawn.flip(3), atol=1e-5 * float(drawn.abs().max()), rtol=0)


@pytest.mark.parametrize('name', ['patches', '2x2 pooling'])
def test_where_the_grid_is_a_tiling_nothing_changes(name):
    model = Network(BODIES[name][0]()).eval()
    images = squares()[0]
    for views in ({}, {'scales': (1, 0.5), 'flip': True}):
        there, here = (build_explainer('cam', model, grid=g, **views)(images) for g in ('half_pixel', 'followed'))
        assert there.grid is None
        assert here.grid.is_half_pixel(tuple(here.maps.shape[2:]))
        assert torch.equal(there.maps, here.maps)
        assert torch.equal(draw_maps(there.maps, (SIZE, SIZE)), draw_maps(here.maps, (SIZE, SIZE), here.grid))


def test_a_single_view_of_another_size_has_its_grid_in_pixels_of_the_image():
    model = Network(BODIES['padded 3x3 stride 2'][0]()).eval()
    images, middles = squares()
    found = build_explainer('cam', model, scales=(0.5,))(images, 0)
    assert found.maps.shape[2:] == (SIZE // 16, SIZE // 16)
    assert found.grid == MapGrid((0.5, 0.5), (16, 16), (SIZE, SIZE))
    assert np.abs((place(found) - middles).mean(axis=0)).max() < 0.3


def test_a_measured_grid_finds_what_the_arithmetic_cannot_know():
    """All the weight of each 3×3 kernel is at its right: the network looks 1 + 2 + 4 pixels beside its followed place.
    The followed map is off by that, the measured one is not, mirrored or not."""
    layers = BODIES['padded 3x3 stride 2'][0]()
    for layer in layers:
        layer.weight.data[:, :, :, :2] = 0
    model = Network(layers).eval()
    images, middles = squares()
    followed = place(build_explainer('cam', model)(images, 0)) - middles
    assert followed.mean(axis=0) == pytest.approx((0, -7), abs=0.3)
    for views in ({}, {'flip': True}, {'scales': (1, 1.5), 'flip': True}):
        measured = place(build_explainer('cam', model, grid='measured', **views)(images, 0)) - middles
        assert measured.mean(axis=0) == pytest.approx((0, 0), abs=0.3)


def test_another_grid_is_refused():
    with pytest.raises(ValueError, match="grid must be one of followed, measured, half_pixel, got 'aligned'"):
        build_explainer('cam', Network(BODIES['patches'][0]()), grid='aligned')
