# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The lattice against an independent one (a dictionary of vertices) and against the direct Gaussian sum."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mmentropy.ops.refining.permutohedral import Permutohedral


def brute_force(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    distance = ((features[:, None] - features[None]) ** 2).sum(-1)
    return np.exp(-distance / 2) @ values


def dictionary_lattice(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Float64, one feature at a time: the enclosing simplex is the one whose barycentric weights are none negative."""
    n, d = features.shape
    # Rows of an orthonormal basis of the plane sum(x) = 0, the Helmert basis, in the paper's orientation and scale.
    basis = np.zeros((d, d + 1))
    for i in range(d):
        basis[i, : i + 1], basis[i, i + 1] = 1, -(i + 1)
        basis[i] /= np.sqrt((i + 1) * (i + 2))
    lifted = features.astype(np.float64) @ basis * (d + 1) * np.sqrt(2 / 3)
    table: dict[tuple[int, ...], np.ndarray] = {}
    corners = []
    for p in range(n):
        # The vertices at remainder r of the simplex: sort the residuals from the point of remainder 0 below.
        best = None
        base = np.floor(lifted[p] / (d + 1)).astype(int)
        for bump in itertools.product((0, 1), repeat=d + 1):
            zero = (base + np.array(bump)) * (d + 1)
            if zero.sum() != 0:
                continue
            residual = lifted[p] - zero
            order = np.argsort(-residual, kind='stable')
            vertices = []
            for r in range(d + 1):
                step = np.full(d + 1, r)
                step[order[d + 1 - r :]] -= d + 1
                vertices.append(zero + step)
            system = np.vstack([np.array(vertices).T, np.ones(d + 1)])
            bary = np.linalg.lstsq(system, np.append(lifted[p], 1), rcond=None)[0]
            if bary.min() > -1e-9:
                best = [(tuple(v), b) for v, b in zip(vertices, bary)]
                break
        assert best is not None
        corners.append(best)
        for vertex, share in best:
            table[vertex] = table.get(vertex, 0) + share * values[p].astype(np.float64)
    for j in range(d + 1):
        step = np.ones(d + 1, int)
        step[j] = -d
        table = {
            key: value + 0.5 * (table.get(tuple(np.array(key) + step), 0) + table.get(tuple(np.array(key) - step), 0))
            for key, value in table.items()
        }
    return np.array([sum(share * table[v] for v, share in c) for c in corners]) / (1 + 2.0**-d)


@pytest.mark.parametrize('d', [1, 2, 3, 5])
def test_equals_the_dictionary_lattice(d):
    rng = np.random.default_rng(d)
    features = rng.uniform(-3, 3, (120, d)).astype(np.float32)
    values = rng.normal(size=(120, 3))
    np.testing.assert_allclose(Permutohedral(features).filter(values), dictionary_lattice(features, values), atol=2e-4)


def test_enough_vertices_to_grow_the_table():
    """More vertices than the first hash table holds; far-apart features do not see one another."""
    features = np.stack(np.meshgrid(np.arange(80), np.arange(75)), -1).reshape(-1, 2).astype(np.float32) * 8
    lattice = Permutohedral(features)
    assert len(lattice) > 4096
    values = np.random.default_rng(0).normal(size=6000).astype(np.float32)
    got = lattice.filter(values)
    some = np.r_[0, 2999, 3000, 5999]
    np.testing.assert_allclose(
        got[some], [dictionary_lattice(features[i : i + 1], values[i : i + 1])[0] for i in some], rtol=1e-3
    )


@pytest.mark.parametrize('d', [2, 5])
def test_approximates_the_gaussian_sum(d):
    """Normalised filtering stays within the lattice's error of the direct sum (measured: 3 % of the range at d = 2)."""
    rng = np.random.default_rng(0)
    side = np.stack(np.meshgrid(np.arange(24), np.arange(24)), -1).reshape(-1, 2) / 4
    features = side if d == 2 else np.concatenate([side / 2, np.cumsum(rng.normal(size=(576, 3)), 0) / 12], 1)
    signal = np.stack([np.sin(side[:, 0]), (side[:, 1] > 3).astype(float), np.ones(576)], 1)
    exact, lattice = brute_force(features, signal), Permutohedral(features).filter(signal)
    exact, lattice = exact / exact[:, -1:], lattice / lattice[:, -1:]
    assert np.abs(exact - lattice)[:, :2].mean() < 0.025
    assert np.corrcoef(exact[:, 0], lattice[:, 0])[0, 1] > 0.995
    # And unlike the identity: filtering does change the signal by much more than the error.
    assert np.abs(exact - signal)[:, 1].mean() > 0.03


def test_linear_symmetric_and_positive():
    rng = np.random.default_rng(1)
    lattice = Permutohedral(rng.uniform(0, 4, (80, 3)))
    matrix = lattice.filter(np.eye(80))
    assert (matrix >= -1e-6).all()
    x, y = rng.normal(size=(2, 80))
    np.testing.assert_allclose(lattice.filter(2 * x + y), matrix @ (2 * x + y), atol=1e-4)
    # Splatting and slicing are transposes and each blur is symmetric; only the order of the blurs is not.
    assert np.abs(matrix - matrix.T).mean() < 0.1 * matrix.mean()


def test_bad_features():
    with pytest.raises(ValueError, match=r'shape \(3,\)'):
        Permutohedral(np.zeros(3))
    with pytest.raises(ValueError, match='finite'):
        Permutohedral(np.array([[0.0, np.nan]]))
    with pytest.raises(ValueError, match='larger deviations'):
        Permutohedral(np.array([[0.0] * 5, [1e6] * 5]))
    with pytest.raises(ValueError, match='2 values for 3 features'):
        Permutohedral(np.zeros((3, 2))).filter(np.zeros(2))
