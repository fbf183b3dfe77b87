# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Pairwise affinities against loops over all pairs of locations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mmentropy.ops.refining.affinity import (
    affinity_labels,
    affinity_loss,
    color_affinity,
    edge_affinity,
    feature_affinity,
    inside,
    neighbor_offsets,
)

SIZE = (5, 7)


def every_pair(offsets, size=SIZE):
    """(index of the offset, y, x, y', x') of the pairs that lie on the map."""
    for p, (dy, dx) in enumerate(offsets.tolist()):
        for y in range(size[0]):
            for x in range(size[1]):
                if 0 <= y + dy < size[0] and 0 <= x + dx < size[1]:
                    yield p, y, x, y + dy, x + dx


def test_offsets_count_each_pair_once():
    offsets = neighbor_offsets(5)
    assert len(offsets) == 34  # AffinityNet's number
    both = {tuple(o) for o in offsets.tolist()} | {tuple(-o for o in pair) for pair in offsets.tolist()}
    assert both == {(y, x) for y in range(-4, 5) for x in range(-4, 5) if 0 < y * y + x * x < 25}
    assert len(both) == 2 * len(offsets)
    assert neighbor_offsets(1.1).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match='radius must be above 1'):
        neighbor_offsets(1)


def test_inside_counts_the_pairs_of_the_map():
    offsets = neighbor_offsets(3)
    want = np.zeros((len(offsets), *SIZE), bool)
    for p, y, x, _, _ in every_pair(offsets):
        want[p, y, x] = True
    np.testing.assert_array_equal(inside(offsets, SIZE), want)


def test_feature_affinity():
    torch.manual_seed(0)
    features = torch.randn(2, 4, *SIZE, dtype=torch.float64, requires_grad=True)
    offsets = neighbor_offsets(3)
    want = np.zeros((2, len(offsets), *SIZE))
    f = features.detach().numpy()
    for b in range(2):
        for p, y, x, v, u in every_pair(offsets):
            want[b, p, y, x] = math.exp(-np.abs(f[b, :, y, x] - f[b, :, v, u]).mean())
    got = feature_affinity(features, offsets)
    np.testing.assert_allclose(got.detach(), want, rtol=1e-12)
    assert torch.autograd.gradcheck(
        lambda x: feature_affinity(x, offsets[:2]), features[:1, :2, :3, :3].detach().requires_grad_()
    )


def test_edge_affinity_takes_the_worst_of_the_path():
    edge = torch.zeros(1, 5, 5)
    edge[0, 1, 2] = 0.8  # a boundary cell
    offsets = np.array([[0, 3], [2, 0], [3, 2]])
    got = edge_affinity(edge, offsets)[0]
    assert got[0, 1, 0] == pytest.approx(0.2)  # (1,0) → (1,3) crosses it
    assert got[0, 2, 0] == 1  # a row below does not
    assert got[1, 0, 2] == pytest.approx(0.2)  # (0,2) → (2,2)
    assert got[2, 0, 1] == pytest.approx(0.2)  # (0,1) → (3,3) passes (1, 2) (5/3 is nearest to 2)
    assert got[2, 1, 3] == 0  # leaves the map


def test_color_affinity():
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    offsets = neighbor_offsets(2.5)
    want = np.zeros((len(offsets), *SIZE))
    for p, y, x, v, u in every_pair(offsets):
        want[p, y, x] = math.exp(-((image[y, x].astype(float) - image[v, u]) ** 2).sum() / (2 * 60**2))
    np.testing.assert_allclose(color_affinity(image, offsets, 60), want, rtol=1e-5, atol=1e-12)


def test_affinity_labels_and_loss():
    rng = np.random.default_rng(1)
    labels = rng.choice([0, 0, 1, 2, 255], (2, *SIZE))
    offsets = neighbor_offsets(3)
    want = np.zeros((3, 2, len(offsets), *SIZE), bool)
    affinity = rng.uniform(0.05, 0.95, want.shape[1:])
    costs: list[list[float]] = [[], [], []]
    for b in range(2):
        for p, y, x, v, u in every_pair(offsets):
            i, j = labels[b, y, x], labels[b, v, u]
            if 255 in (i, j):
                continue
            kind = 2 if i != j else int(i > 0)
            want[kind, b, p, y, x] = True
            a = affinity[b, p, y, x]
            costs[kind].append(-math.log(1 - a if kind == 2 else a))
    got = affinity_labels(torch.from_numpy(labels), offsets)
    for g, w in zip(got, want):
        np.testing.assert_array_equal(g, w)
    loss = affinity_loss(torch.from_numpy(affinity), *got, eps=0)
    assert float(loss) == pytest.approx(np.mean(costs[0]) / 4 + np.mean(costs[1]) / 4 + np.mean(costs[2]) / 2)


def test_loss_without_any_pair_is_zero():
    affinity = torch.rand(1, 2, 3, 3, requires_grad=True)
    nothing = torch.zeros(1, 2, 3, 3, dtype=torch.bool)
    loss = affinity_loss(affinity, nothing, nothing, nothing)
    loss.backward()
    assert loss == 0
    assert affinity.grad.abs().sum() == 0
