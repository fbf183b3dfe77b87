# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""DSRGSegmentor: its targets against the plain functions, and that its seeds grow."""

from __future__ import annotations

import numpy as np
import torch
from small_segmentors import build, samples

from mmentropy.ops.refining.dense_crf import dense_crf, unary_from_probability
from mmentropy.ops.refining.region_growing import grow_regions


def test_dsrg_targets_are_the_ops_results(repo_root, scenes):
    model = build(repo_root, 'dsrg_r18_partshapes').eval()
    images, masks = scenes
    torch.manual_seed(1)
    logits = torch.randn(6, 16, 16) * 2
    grown, marginals = model.targets(logits, images[1], samples(masks)[1])
    probability = logits.softmax(0).numpy()
    seeds = masks[1, ::4, ::4].numpy()
    cues = seeds[None] == np.arange(6)[:, None, None]
    present = np.array([True, False, False, True, False, False])
    np.testing.assert_array_equal(grown, grow_regions(cues, probability, present, 0.7, 0.85))
    assert grown[[1, 2, 4, 5]].sum() == 0
    own = probability[[0, 3]] / probability[[0, 3]].sum(0)
    pixels = images[1] * model.data_preprocessor.std + model.data_preprocessor.mean
    small = pixels.reshape(3, 16, 4, 16, 4).mean((2, 4)).clamp(0, 255).byte().permute(1, 2, 0).numpy()
    want = dense_crf(unary_from_probability(own), small, model.kernels, model.crf_iterations)
    np.testing.assert_allclose(marginals[[0, 3]], want, atol=1e-5)
    assert marginals[[1, 2, 4, 5]].sum() == 0


def test_dsrg_grows_while_it_learns(repo_root, scenes):
    """From seeds on a quarter of the square to nearly all of it."""
    model = build(repo_root, 'dsrg_r18_partshapes').train()
    images, masks = scenes
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    shares = []
    for _ in range(30):
        losses = model(images, samples(masks), mode='loss')
        total, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        shares.append(float(losses['grown_share']))
    assert {'loss_seed', 'loss_boundary'} <= set(losses)
    assert max(shares) > shares[0] + 0.15
    logits = model.encode_decode(images, [{'img_shape': (64, 64)}] * 2).argmax(1)
    inside = logits[0, 20:44, 20:44]
    assert (inside == 1).float().mean() > 0.9
    assert (logits[0, :8] == 0).float().mean() > 0.9


def test_dsrg_on_a_crop_without_objects(repo_root, scenes):
    model = build(repo_root, 'dsrg_r18_partshapes')
    images, masks = scenes
    nothing = torch.full_like(masks, 255)
    grown, marginals = model.targets(torch.randn(6, 16, 16), images[0], samples(nothing)[0])
    assert not grown.any()
    np.testing.assert_array_equal(marginals[0], 1)
