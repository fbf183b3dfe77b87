# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""RefineCAM against its parts, and against torch-cam."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmentropy.explain import build_explainer, find_grid
from mmentropy.ops.mapping.activation_maps import scale_maps
from mmentropy.ops.mapping.scaling import move_maps


class Stages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(inplace=True))
        self.second = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.third = nn.Sequential(nn.Conv2d(8, 10, 3, 2, 1), nn.ReLU(inplace=True))
        self.fc = nn.Linear(10, 5)

    def forward(self, x):
        return self.fc(self.third(self.second(self.first(x))).mean((2, 3)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Stages().eval()


@pytest.fixture
def pictures():
    return torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(('base', 'combine'), [('grad_cam++', 'product'), ('layer_cam', 'mean')])
def test_it_is_its_layers_maps_in_their_places(base, combine, model, pictures):
    found = build_explainer('refine_cam', model, base=base, combine=combine, class_chunk=2)(pictures)
    parts = []
    for layer in ('third', 'second', 'first'):
        one = build_explainer(base, model, target_layer=layer)(pictures)
        grid = find_grid(model, 'first', pictures)
        parts.append(move_maps(scale_maps(one.maps), one.grid, (16, 24), grid, (32, 48)))
    expected = torch.stack(parts).prod(0) if combine == 'product' else torch.stack(parts).mean(0)
    torch.testing.assert_close(found.maps, expected, rtol=1e-3, atol=1e-5)
    assert found.grid == find_grid(model, 'first', pictures)
    named = build_explainer('refine_cam', model, layers=['first', 'third', 'second'], base=base, combine=combine)
    torch.testing.assert_close(named(pictures).maps, found.maps)


def test_same_as_torchcam(model, pictures):
    """Theirs draws by sizes; half-pixel drawing does so, too."""
    pytest.importorskip('torchcam', reason='the torchcam package is not installed')
    from torchcam.methods import LayerCAM, RefineCAM

    with RefineCAM(model, ['first', 'second', 'third'], (3, 32, 48), base_method=LayerCAM) as extractor:
        expected = extractor([1, 4], model(pictures), normalized=False)[0]
    found = build_explainer('refine_cam', model, base='layer_cam', grid='half_pixel')(pictures, [1, 4])
    assert expected.max() > 0.1
    torch.testing.assert_close(found.maps[:, 0], expected, rtol=1e-4, atol=1e-4)


def test_refusals(model, pictures):
    with pytest.raises(ValueError, match='base must be one of grad_cam'):
        build_explainer('refine_cam', model, base='cam')
    with pytest.raises(ValueError, match='at least one layer'):
        build_explainer('refine_cam', model, layers=[])
    with pytest.raises(ValueError, match="'product' or 'mean'"):
        build_explainer('refine_cam', model, combine='max')
    with pytest.raises(KeyError, match='names no module'):
        build_explainer('refine_cam', model, layers=['fourth'])(pictures)
