# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The sparse walk against squaring a dense float64 matrix."""

from __future__ import annotations

import numpy as np
import pytest

from mmentropy.ops.refining.affinity import neighbor_offsets
from mmentropy.ops.refining.random_walk import random_walk, sparse_affinity, transition_matrix


def dense_affinity(pairs, offsets):
    """Two loops, wrap-around impossible by construction."""
    _, h, w = pairs.shape
    a = np.eye(h * w)
    for p, (dy, dx) in enumerate(offsets):
        for y in range(h):
            for x in range(w):
                if 0 <= y + dy < h and 0 <= x + dx < w:
                    i, j = y * w + x, (y + dy) * w + x + dx
                    a[i, j] = a[j, i] = pairs[p, y, x]
    return a


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    offsets = neighbor_offsets(3.5)
    # Values outside the map must not matter, so they are not zero here.
    return rng.uniform(0.3, 1, (len(offsets), 8, 11)).astype(np.float32), offsets, rng.uniform(size=(3, 8, 11))


def test_affinity_and_transition_equal_dense_ones(problem):
    pairs, offsets, _ = problem
    want = dense_affinity(pairs, offsets)
    np.testing.assert_allclose(sparse_affinity(pairs, offsets).toarray(), want, rtol=1e-6)
    powered = want**4
    got = transition_matrix(sparse_affinity(pairs, offsets), beta=4).toarray()
    np.testing.assert_allclose(got, powered / powered.sum(axis=0), rtol=1e-5)


@pytest.mark.parametrize('log_steps', [0, 1, 5])
@pytest.mark.parametrize('device', [None, 'cpu'])
def test_walk_equals_dense_squaring(problem, log_steps, device):
    pairs, offsets, maps = problem
    powered = dense_affinity(pairs, offsets) ** 8
    dense = powered / powered.sum(axis=0)
    for _ in range(log_steps):
        dense = dense @ dense
    want = (maps.reshape(3, -1) @ dense).reshape(maps.shape)
    transition = transition_matrix(sparse_affinity(pairs, offsets), 8)
    got = random_walk(maps, transition, log_steps, device)
    np.testing.assert_allclose(got, want, rtol=2e-4)
    np.testing.assert_array_equal(got.argmax(0), want.argmax(0))


def test_walk_stays_within_walls(problem):
    """No affinity across a wall: what starts on one side stays there, and spreads evenly on it."""
    _, offsets, _ = problem
    side = np.arange(11) < 5
    pairs = np.zeros((len(offsets), 8, 11), np.float32)
    for p, (_, dx) in enumerate(offsets):
        to = np.arange(11) + dx
        same = (to >= 0) & (to < 11)
        pairs[p] = same & (side == side[np.clip(to, 0, 10)])
    start = np.zeros((1, 8, 11))
    start[0, 4, 2] = 1
    got = random_walk(start, transition_matrix(sparse_affinity(pairs, offsets)), 10)[0]
    assert got[:, 5:].max() == 0
    # The walk's limit on the other side of the transpose: x T weighs columns evenly, so the row limit is uniform.
    assert got[:, :5].min() == pytest.approx(got[:, :5].max(), rel=1e-3)


def test_bad_input(problem):
    pairs, offsets, maps = problem
    transition = transition_matrix(sparse_affinity(pairs, offsets))
    with pytest.raises(ValueError, match=r'\(3, 8, 10\) do not fit a walk of 88 locations'):
        random_walk(maps[..., :-1], transition)
    with pytest.raises(ValueError, match='do not fit 2 offsets'):
        sparse_affinity(pairs, offsets[:2])
    with pytest.raises(ValueError, match='negative or not finite'):
        sparse_affinity(-pairs, offsets)
