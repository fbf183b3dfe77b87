# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Explainers read their maps: cut, weighed by certainty, spread; from any network that has what it takes."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from small_nets import VIT_METHODS
from torch import nn

from mmentropy.explain import METHODS, build_explainer
from mmentropy.ops.mapping.reading import Reading
from mmentropy.ops.mapping.scaling import draw_maps

SIZE = (20, 28)
#: Their maps are of a transformer, or of other locations than the last map's: see their own tests.
ELSEWHERE = ('entropy', 'input_gradient', 'smooth_grad', 'refine_cam', *VIT_METHODS)


class Net(nn.Module):
    def __init__(self, hidden: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1))
        self.hidden = nn.Sequential(nn.Linear(8, 8), nn.Tanh()) if hidden else nn.Identity()
        self.fc = nn.Linear(8, 5)
        self.fc.weight.data *= 8

    def forward(self, x):
        return self.fc(self.hidden(self.body(x).mean((2, 3))))


class Segmentor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 4, 4)

    def forward(self, x):
        return self.conv(x) * 6


@pytest.fixture
def images():
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def make(kind=Net, *args) -> nn.Module:
    torch.manual_seed(0)
    return kind(*args).eval()


def location_logits(model: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, C, h, w) logits and (N, D, h, w) features."""
    with torch.no_grad():
        if isinstance(model, Segmentor):
            return model(images), model(images)
        features = model.body(images)
        return F.conv2d(features, model.fc.weight[:, :, None, None], model.fc.bias), features


def entropy_of(logits: torch.Tensor, score: str) -> torch.Tensor:
    if score == 'sigmoid':
        return torch.distributions.Bernoulli(logits=logits).entropy().mean(1)
    return torch.distributions.Categorical(logits=logits.movedim(1, -1)).entropy()


def spread(maps: torch.Tensor, features: torch.Tensor, power: int) -> torch.Tensor:
    """The affinity pair by pair."""
    out = torch.zeros_like(maps)
    for n in range(len(maps)):
        f = features[n].flatten(1)
        f = f - f.mean(1, keepdim=True)
        similarity = F.cosine_similarity(f[:, :, None], f[:, None], dim=0).clamp(min=0) ** power
        similarity.fill_diagonal_(1)
        out[n] = (maps[n].flatten(1) @ (similarity / similarity.sum(1, keepdim=True)).T).view_as(maps[n])
    return out


@pytest.mark.parametrize('score', ['softmax', 'sigmoid'])
@pytest.mark.parametrize('method', [m for m in METHODS if m not in ELSEWHERE])
def test_maps_of_every_method_are_weighed_by_certainty_and_spread(method, score, images):
    model = make()
    logits, features = location_logits(model, images)
    raw = build_explainer(method, model, score=score)(images, [[1, 4], [0, 2]])
    sure = raw.maps.relu() * torch.exp(-entropy_of(logits, score))[:, None]
    assert sure.max() > 0
    for reading, expected in (
        ('certain', sure),
        ({'relu': True, 'certain': True}, sure),
        ('certain+spread', spread(sure, features, 4)),
        (Reading(spread=1, power=2), spread(raw.maps, features, 2)),
    ):
        found = build_explainer(method, model, reading=reading, score=score)(images, [[1, 4], [0, 2]])
        torch.testing.assert_close(found.maps, expected, rtol=1e-3, atol=1e-5 * float(expected.max()))
        torch.testing.assert_close(found.logits, raw.logits)
        assert found.classes.tolist() == [[1, 4], [0, 2]]


@pytest.mark.parametrize('score', ['softmax', 'sigmoid'])
def test_a_segmentor_is_weighed_by_the_entropy_of_its_logits(score, images):
    model = make(Segmentor)
    logits = model(images).detach()
    found = build_explainer('cam', model, reading='certain', score=score)(images, [[3, 1], [0, 2]])
    expected = logits.relu() * torch.exp(-entropy_of(logits, score))[:, None]
    for n, k in ((0, 0), (0, 1), (1, 0), (1, 1)):
        torch.testing.assert_close(found.maps[n, k], expected[n, found.classes[n, k]])
    found = build_explainer('cam', model, reading='certain+spread', score=score)(images)
    torch.testing.assert_close(found.maps, spread(expected, logits, 4), rtol=1e-3, atol=1e-5)


def test_every_view_is_read_on_its_own(images):
    model = make()
    both = build_explainer('cam', model, reading='certain', flip=True)(images)
    read = build_explainer('cam', model, reading='certain')
    plain, mirrored = (read(view) for view in (images, images.flip(3)))
    drawn = [draw_maps(found.maps, (5, 7), found.grid) for found in (plain, mirrored)]
    torch.testing.assert_close(both.maps, (drawn[0] + drawn[1].flip(3)) / 2)


def test_without_logits_at_the_locations_certainty_is_left_out_and_that_is_said_once(images):
    model = make(Net, True)
    explainer = build_explainer('layer_cam', model, reading='certain')
    with pytest.warns(UserWarning, match=r"Net has no classifier on the locations of layer 'body'; .*certainty"):
        first = explainer(images)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        torch.testing.assert_close(explainer(images).maps, first.maps)
    layer_cam = build_explainer('layer_cam', model)(images).maps
    torch.testing.assert_close(first.maps, layer_cam.relu())
    with pytest.warns(UserWarning, match='certainty'):
        spread_only = build_explainer('grad_cam', model, reading='certain+spread')(images).maps
    raw, features = build_explainer('grad_cam', model)(images).maps, model.body(images).detach()
    torch.testing.assert_close(spread_only, spread(raw.relu(), features, 4), rtol=1e-3, atol=1e-6)


def test_a_certain_location_outweighs_a_strong_one():
    """Two locations: logits (3, 0) and (4, 4). The class map is higher at the second, which cannot tell."""
    model = nn.Sequential(nn.Conv2d(3, 2, 4, 4, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    nn.init.zeros_(model[0].weight)
    model[0].weight.data[0, 0] = model[0].weight.data[1, 1] = 1 / 16
    nn.init.eye_(model[3].weight)
    nn.init.zeros_(model[3].bias)
    image = torch.zeros(1, 3, 4, 8)
    image[0, 0, :, :4], image[0, :2, :, 4:] = 3, 4
    found = build_explainer('cam', model, reading='certain')(image, 0).maps[0, 0, 0]
    p = 1 / (1 + math.exp(-3))
    entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
    torch.testing.assert_close(found, torch.tensor([3 * math.exp(-entropy), 4 * math.exp(-math.log(2))]))
    assert found[0] > found[1]


def test_an_unknown_reading_is_refused():
    with pytest.raises(ValueError, match=r"reading must be one of protocol, .*got 'sure'"):
        build_explainer('cam', make(), reading='sure')
