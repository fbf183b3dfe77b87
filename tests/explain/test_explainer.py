# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The map methods by value, and the promise to leave the model as it was."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_nets import BY_CLASS, VIT_METHODS, make

from mmentropy.explain import METHODS, build_explainer
from mmentropy.ops.mapping.geometry import MapGrid


@pytest.mark.parametrize('method', BY_CLASS)
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


@pytest.mark.parametrize('method', [m for m in METHODS if m not in VIT_METHODS])
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
