# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Gradients by the pixel against plain autograd."""

from __future__ import annotations

import pytest
import torch
from small_nets import make

from mmentropy.explain import build_explainer
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.input_maps import noise_like
from mmentropy.ops.mapping.scaling import draw_maps


def slopes(model, images, c):
    leaf = images.clone().requires_grad_()
    return torch.autograd.grad(model(leaf)[:, c].sum(), leaf)[0]


def test_input_gradient_equals_plain_autograd(images):
    model = make(hidden=True)
    found = build_explainer('input_gradient', model, class_chunk=2)(images)
    times = build_explainer('input_gradient', model, times_input=True)(images, 3)
    for c in range(5):
        torch.testing.assert_close(found.maps[:, c], slopes(model, images, c).abs().amax(1))
    torch.testing.assert_close(times.maps[:, 0], (slopes(model, images, 3) * images).sum(1).abs())
    assert found.grid == MapGrid.of_image((20, 28))


def test_smooth_grad_is_the_mean_over_noisy_copies(images):
    model = make()
    found = build_explainer('smooth_grad', model, samples=5, noise=0.2, batch_size=2)(images, [2, 0])
    for n, c in enumerate((2, 0)):
        noisy = images[n] + noise_like(images[n], 5, 0.2)
        torch.testing.assert_close(found.maps[n, 0], slopes(model, noisy, c).abs().amax(1).mean(0))
    with pytest.raises(ValueError, match='samples and batch_size count copies'):
        build_explainer('smooth_grad', model, samples=0)


def test_pixels_are_read_by_the_certainty_of_the_locations_that_look_there(images):
    model = make()
    raw = build_explainer('input_gradient', model)(images, 1)
    cam = build_explainer('entropy', model)(images)
    entropy = torch.log(torch.tensor(5.0)) - cam.maps[:, 0]
    drawn = draw_maps(entropy, (20, 28), cam.grid, 'bilinear')
    found = build_explainer('input_gradient', model, reading='certain')(images, 1)
    torch.testing.assert_close(found.maps[:, 0], raw.maps[:, 0] * torch.exp(-drawn), rtol=1e-4, atol=1e-6)
