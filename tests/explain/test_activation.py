# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Maps from activations, and the controls, of whole networks."""

from __future__ import annotations

import pytest
import torch
from small_nets import make
from torch import nn

from mmentropy.explain import build_explainer


@pytest.mark.parametrize('hidden', [False, True])
def test_ablation_by_brute_force(hidden, images):
    """Behind GAP by arithmetic, behind a hidden layer by passes: both as a loop over the channels has it."""
    model = make(hidden)
    found = build_explainer('ablation_cam', model, batch_size=3)(images, [[1, 3], [0, 0]])
    features = model.act(model.body(images)).detach()

    def logits(f):
        return model.fc(model.hidden(f.mean((2, 3)))).detach()

    for n in range(2):
        whole = logits(features[n : n + 1])[0]
        expected = torch.zeros(2, 5, 7)
        for d in range(8):
            without = features[n : n + 1].clone()
            without[0, d] = 0
            drop = (whole - logits(without)[0]) / whole
            expected += drop[found.classes[n]][:, None, None] * features[n, d]
        torch.testing.assert_close(found.maps[n], expected.relu(), rtol=1e-3, atol=1e-6)


def test_ablation_runs_what_stands_before_the_layer_once_an_image(images):
    model, seen = make(hidden=True), []
    explainer = build_explainer('ablation_cam', model, batch_size=8)
    explainer(images)
    model.body.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    explainer(images)
    assert sum(seen) == 4  # the batch, and each image once more for its 8 channels


class Rigid(nn.Module):
    """It keeps the size of its batch: copies cannot be made on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.act = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU()), nn.Tanh()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        out = self.body(x)
        return self.act(self.fc(out.mean((2, 3)).view(len(x), 4)))


def test_a_network_that_keeps_its_batch_is_run_on_copies_of_the_image(images):
    torch.manual_seed(0)
    model = Rigid().eval()
    found = build_explainer('ablation_cam', model)(images, 1)
    features = model.body(images).detach()
    whole = model(images).detach()[:, 1]
    expected = torch.zeros(2, 5, 7)
    for d in range(4):
        without = features.clone()
        without[:, d] = 0
        score = model.act(model.fc(without.mean((2, 3)))).detach()[:, 1]
        expected += ((whole - score) / whole)[:, None, None] * features[:, d]
    torch.testing.assert_close(found.maps[:, 0], expected.relu(), rtol=1e-4, atol=1e-6)


def test_controls_do_not_see_the_weights(images):
    for method in ('random', 'center'):
        maps = build_explainer(method, make())(images).maps
        torch.manual_seed(9)
        other = make()
        for parameter in other.parameters():
            nn.init.normal_(parameter)
        torch.testing.assert_close(build_explainer(method, other)(images).maps, maps)
        alone = build_explainer(method, make())(images[1:]).maps
        torch.testing.assert_close(alone[0], maps[1])  # whatever the batch
    with pytest.raises(ValueError, match='batch_size'):
        build_explainer('ablation_cam', make(), batch_size=0)
