# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""CAM, entropy maps and their product by hand, of classifiers and segmentors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_nets import Dense, make

from mmentropy.explain import EntropyMap, build_explainer
from mmentropy.ops.certainty.entropy import entropy_weights
from mmentropy.ops.mapping.scaling import resize_map


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
