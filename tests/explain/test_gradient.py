# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Gradient methods against plain autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_nets import Net, make

from mmentropy.explain import build_explainer


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
