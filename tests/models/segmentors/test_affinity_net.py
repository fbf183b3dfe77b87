# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""AffinityNet: its loss against the plain functions, and that it learns."""

from __future__ import annotations

import torch
from small_segmentors import build, samples

from mmentropy.ops.refining.affinity import affinity_labels, affinity_loss, feature_affinity


def test_affinity_net_loss_is_the_affinity_loss(repo_root, scenes):
    model = build(repo_root, 'affinity_r18_partshapes').eval()
    images, masks = scenes
    loss = model(images, samples(masks), mode='loss')['loss_affinity']
    found = model(images, mode='tensor')
    labels = masks[:, :: 64 // found.shape[2], :: 64 // found.shape[3]]
    want = affinity_loss(feature_affinity(found, model.offsets), *affinity_labels(labels, model.offsets))
    torch.testing.assert_close(loss, want)
    assert model(images, samples(masks), mode='predict')[1].affinity_features.shape == found.shape[1:]


def test_affinity_net_learns_the_border(repo_root, scenes):
    model = build(repo_root, 'affinity_r18_partshapes')
    images, masks = scenes
    full = torch.where(masks == 255, 0, masks)
    full[0, 16:48, 16:48], full[1, 16:48, 16:48] = 1, 3
    head = [p for name, p in model.named_parameters() if not name.startswith('backbone')]
    optimizer = torch.optim.Adam(head, lr=0.02)
    values = []
    for _ in range(40):
        loss = model(images, samples(full), mode='loss')['loss_affinity']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.5 * values[0]
    # A frozen backbone gets no gradient.
    assert all(p.grad is None for p in model.backbone.parameters())
    # On an image as the pipeline gives it, RGB uint8, at any number of locations.
    rgb = torch.randint(0, 255, (1, 3, 50, 70), dtype=torch.uint8)
    got = model.eval().describe(rgb, (7, 9))
    assert got.shape == (1, 32, 7, 9)
    # 64 × 96 needs no padding: there the features are those of the normalised image, resized.
    rgb = torch.randint(0, 255, (1, 3, 64, 96), dtype=torch.uint8)
    plain = model((rgb - 127.5) / 63.75, mode='tensor')
    want = torch.nn.functional.interpolate(plain, size=(8, 12), mode='bilinear', align_corners=False)
    torch.testing.assert_close(model.describe(rgb, (8, 12)), want, atol=1e-4, rtol=1e-4)
