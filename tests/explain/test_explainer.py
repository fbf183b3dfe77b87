# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The map methods by value, and the promise to leave the model as it was."""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmentropy.explain import METHODS, EntropyMap, build_explainer
from mmentropy.ops.certainty.entropy import entropy_weights
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.scaling import resize_map


class Net(nn.Module):
    """Two convolutions, global average pooling, and a linear layer or two."""

    def __init__(self, hidden: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3, 2, 1)
        )
        self.act = nn.ReLU(inplace=True)
        self.hidden = nn.Sequential(nn.Linear(8, 7), nn.Tanh()) if hidden else nn.Identity()
        self.fc = nn.Linear(7 if hidden else 8, 5)

    def forward(self, x):
        return self.fc(self.hidden(self.act(self.body(x)).mean((2, 3))))


@pytest.fixture
def images():
    return torch.randn(2, 3, 20, 28, generator=torch.Generator().manual_seed(1))


def make(hidden: bool = False) -> Net:
    torch.manual_seed(0)
    return Net(hidden).eval()


def test_cam_is_the_weighted_sum_of_the_features_and_its_mean_is_the_logit(images):
    model = make()
    found = build_explainer('cam', model)(images)
    features = model.act(model.body(images)).detach().numpy()
    weight, bias = model.fc.weight.detach().numpy(), model.fc.bias.detach().numpy()
    expected = np.zeros((2, 5, 5, 7))
    for n, c, k in np.ndindex(2, 5, 8):
        expected[n, c] += weight[c, k] * features[n, k]
    np.testing.assert_allclose(found.maps, expected, atol=1e-6)
    logits = model(images).detach().numpy()
    np.testing.assert_allclose(found.logits, logits, atol=1e-6)
    # Bilinear up-sampling by a whole factor keeps the mean: the map at image size integrates to the logit as well.
    large = resize_map(found.maps[0].numpy(), (20, 28), 'bilinear')
    np.testing.assert_allclose(large.mean((1, 2)) + bias, logits[0], atol=1e-5)


@pytest.mark.parametrize('method', [m for m in METHODS if m != 'entropy'])
def test_asking_for_some_classes_gives_those_of_all(method, images):
    explainer = build_explainer(method, make(), **({} if method == 'score_cam' else {'scales': (1, 0.5), 'flip': True}))
    everything = explainer(images)
    some = explainer(images, [[4, 0], [2, 2]])
    assert everything.classes.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert some.classes.tolist() == [[4, 0], [2, 2]]
    for n, k in np.ndindex(2, 2):
        torch.testing.assert_close(some.maps[n, k], everything.maps[n, some.classes[n, k]])
    torch.testing.assert_close(explainer(images, 3).maps[:, 0], everything.maps[:, 3])
    torch.testing.assert_close(explainer(images, [1, 4]).maps[1, 0], everything.maps[1, 4])
    best = explainer(images, lambda logits: logits.topk(2).indices)
    assert best.classes.tolist() == make()(images).topk(2).indices.tolist()
    torch.testing.assert_close(best.maps[1, 1], everything.maps[1, best.classes[1, 1]])


def plain_autograd(model: Net, image: torch.Tensor, c: int) -> tuple[torch.Tensor, torch.Tensor]:
    features = model.act(model.body(image[None])).detach().requires_grad_()
    score = model.fc(model.hidden(features.mean((2, 3))))[0, c]
    return features.detach()[0], torch.autograd.grad(score, features)[0][0]


@pytest.mark.parametrize('hidden', [False, True])
def test_gradient_methods_equal_plain_autograd(hidden, images):
    model = make(hidden)
    expected = {name: torch.zeros(2, 5, 5, 7) for name in ('grad_cam', 'layer_cam', 'xgrad_cam', 'grad_cam++')}
    for n, c in np.ndindex(2, 5):
        f, g = plain_autograd(model, images[n], c)
        total = f.sum((1, 2), keepdim=True)
        weights = {
            'grad_cam': g.mean((1, 2), keepdim=True),
            'layer_cam': g.relu(),
            'xgrad_cam': (g * f).sum((1, 2), keepdim=True) / (total + 1e-7),
            'grad_cam++': (g.relu() * g**2 / (2 * g**2 + total * g**3 + 1e-12)).sum((1, 2), keepdim=True),
        }
        for name, weight in weights.items():
            expected[name][n, c] = (weight * f).sum(0).relu()
    for name, maps in expected.items():
        explainer = build_explainer(name, model, class_chunk=2)
        torch.testing.assert_close(explainer(images).maps, maps, rtol=1e-4, atol=1e-7)
        assert explainer.anatomy.pooling == ('other' if hidden else 'mean')
    if not hidden:
        cam = build_explainer('cam', model)(images).maps
        torch.testing.assert_close(expected['grad_cam'], cam.relu() / 35, rtol=1e-4, atol=1e-7)


def test_no_batching_rule_falls_back_to_one_class_at_a_time(images, monkeypatch):
    model = make(hidden=True)
    expected = build_explainer('grad_cam', model)(images).maps
    original = torch.autograd.grad

    def refuse(*args, is_grads_batched=False, **kwargs):
        if is_grads_batched:
            raise RuntimeError('no batching rule')
        return original(*args, **kwargs)

    explainer = build_explainer('grad_cam', model)
    monkeypatch.setattr(torch.autograd, 'grad', refuse)
    torch.testing.assert_close(explainer(images).maps, expected)


def test_entropy_maps_by_hand(images):
    model = make()
    features = model.act(model.body(images)).detach()
    z = torch.einsum('cd,ndhw->nchw', model.fc.weight, features) + model.fc.bias[:, None, None]
    entropy = torch.distributions.Categorical(logits=z.permute(0, 2, 3, 1)).entropy().detach()
    found = build_explainer('entropy', model)(images)
    torch.testing.assert_close(found.maps[:, 0], math.log(5) - entropy, atol=1e-5, rtol=1e-4)
    assert found.classes.tolist() == [[0, 1, 2, 3, 4]] * 2
    weighted = build_explainer('entropy_cam', model, temperature=0.1)(images)
    weights = entropy_weights(entropy, 5, temperature=0.1)
    torch.testing.assert_close(weighted.maps, (weights[:, None] * z).detach(), atol=1e-5, rtol=1e-4)
    # The sum of the map is the logit of entropy-weighted pooling.
    pooled = model.fc((features * weights[:, None]).sum((2, 3)))
    torch.testing.assert_close(weighted.maps.sum((2, 3)), pooled.detach(), atol=1e-5, rtol=1e-4)
    sigmoid = EntropyMap(model, score='sigmoid')(images).maps[:, 0]
    binary = torch.distributions.Bernoulli(logits=z).entropy().mean(1).detach()
    torch.testing.assert_close(sigmoid, math.log(2) - binary, atol=1e-5, rtol=1e-4)


def test_score_cam_by_brute_force(images):
    model = make()
    found = build_explainer('score_cam', model, batch_size=3)(images, [[1, 3], [0, 0]])
    features = model.act(model.body(images)).detach()
    with torch.no_grad():
        for n, k in np.ndindex(2, 2):
            scores = []
            for d in range(8):
                mask = F.interpolate(features[n : n + 1, d : d + 1], (20, 28), mode='bilinear')
                mask = (mask - mask.min()) / (mask.max() - mask.min() + 1e-8)
                scores.append(model(images[n : n + 1] * mask)[0, found.classes[n, k]])
            expected = (torch.stack(scores).softmax(0)[:, None, None] * features[n]).sum(0).relu()
            torch.testing.assert_close(found.maps[n, k], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('grid', ['half_pixel', 'followed'])
def test_scales_and_flips_are_averages_of_single_views_drawn_over_the_image(images, grid):
    """Against ``cv2.remap``, which knows places to 1/32 of a location."""
    model = make()
    single = build_explainer('cam', model)
    small = F.interpolate(images, (10, 14), mode='bilinear')
    expected = np.zeros((2, 1, 5, 7))
    for view, mirrored in itertools.product((images, small), (False, True)):
        maps = single(view.flip(3) if mirrored else view, [1, 2]).maps[:, 0].numpy()
        spots = []  # where the columns and rows of the drawn map, a quarter of the image's, are in this view's map
        for drawn, whole, length in zip((7, 5), view.shape[:1:-1], maps.shape[:0:-1]):
            step = 4 if grid == 'followed' else whole / length
            start = 0 if grid == 'followed' else (step - 1) / 2
            spots.append((((np.arange(drawn) + 0.5) * whole / drawn - 0.5) - start) / step)
        columns, rows = np.meshgrid(*map(np.float32, spots))
        for n in range(2):
            one = cv2.remap(maps[n], columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            expected[n, 0] += (one[:, ::-1] if mirrored else one) / 4
    found = build_explainer('cam', model, scales=(0.5, 1), flip=True, grid=grid)(images, [1, 2])
    np.testing.assert_allclose(found.maps, expected, atol=0.02 * np.ptp(expected))
    assert found.grid is None if grid == 'half_pixel' else found.grid == MapGrid((1.5, 1.5), (4, 4), (20, 28))


class Dense(nn.Module):
    def __init__(self, key: str | None = None) -> None:
        super().__init__()
        self.conv, self.key = nn.Conv2d(3, 4, 4, 4), key

    def forward(self, x):
        out = self.conv(x)
        return {'out': out} if self.key else out


@pytest.mark.parametrize('key', [None, 'out'])
def test_segmentor_gives_its_logits(key, images):
    model = Dense(key)
    maps = model.conv(images).detach()
    torch.testing.assert_close(build_explainer('cam', model)(images).maps, maps)
    torch.testing.assert_close(build_explainer('cam', model)(images, [[3, 1], [0, 2]]).maps[1, 1], maps[1, 2])
    entropy = torch.distributions.Categorical(logits=maps.permute(0, 2, 3, 1)).entropy()
    torch.testing.assert_close(build_explainer('entropy', model)(images).maps[:, 0], math.log(4) - entropy)
    weights = entropy_weights(entropy, 4)
    torch.testing.assert_close(build_explainer('entropy_cam', model)(images).maps, maps * weights[:, None])
    with pytest.raises(ValueError, match='class maps'):
        build_explainer('grad_cam', model)(images)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('fails', [False, True])
def test_model_is_left_as_it_was(method, fails, images):
    model = make(hidden=method.startswith(('grad', 'layer', 'x')))
    model.train()
    model.body[1].eval()
    model.fc.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    flags = [parameter.requires_grad for parameter in model.parameters()]
    explainer = build_explainer(method, model)
    explainer(images, 0)
    if fails and method != 'entropy':
        with pytest.raises(ValueError, match='class 5 does not exist'):
            explainer(images, 5)
    elif fails:
        with pytest.raises(RuntimeError):
            explainer(images[:, :2])
    assert modes == [module.training for module in model.modules()]
    assert flags == [parameter.requires_grad for parameter in model.parameters()]
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        ([1, 2, 3], r'asked for 3 image\(s\), but the batch has 2'),
        ([1], r'asked for 1 image\(s\), but the batch has 2'),
        ([[1, 2]], r'asked for 1 image\(s\)'),
        ([[1, 2], [3]], 'as many for each image'),
        ([0, -1], 'class -1 does not exist: the model has the classes 0 to 4'),
        ([0.5, 1.0], 'whole numbers'),
    ],
)
def test_wrong_classes_are_an_error_never_zeros(classes, message, images):
    for method in ('cam', 'grad_cam'):
        with pytest.raises(ValueError, match=message):
            build_explainer(method, make())(images, classes)


def test_refusals(images):
    with pytest.raises(ValueError, match='method must be one of'):
        build_explainer('magic', make())
    with pytest.raises(ValueError, match='use GradCAM'):
        build_explainer('cam', make(hidden=True))(images)
    with pytest.raises(ValueError, match='must be a batch'):
        build_explainer('cam', make())(images[0])
    with pytest.raises(ValueError, match='scales'):
        build_explainer('cam', make(), scales=())
