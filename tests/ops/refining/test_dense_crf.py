# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Mean field against a direct O(N²) one, and against the usual package where it is installed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmentropy.ops.refining.dense_crf import (
    DEEPLAB_KERNELS,
    PSA_KERNELS,
    Bilateral,
    Gaussian,
    bilateral_features,
    dense_crf,
    position_features,
    unary_from_labels,
    unary_from_probability,
)
from mmentropy.ops.refining.permutohedral import Permutohedral


def scene(size: tuple[int, int], labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image of smooth patches with noise, and probabilities that follow the patches only roughly."""
    rng = np.random.default_rng(seed)
    fields = np.stack([cv2.GaussianBlur(rng.normal(size=size), (0, 0), size[0] / 8) for _ in range(labels)])
    region = fields.argmax(0)
    palette = rng.integers(0, 255, (labels, 3))
    image = np.clip(palette[region] + rng.normal(0, 8, (*size, 3)), 0, 255).astype(np.uint8)
    logits = np.eye(labels)[region].transpose(2, 0, 1) * 1.2 + rng.normal(0, 0.8, (labels, *size))
    return image, (np.exp(logits) / np.exp(logits).sum(0)).astype(np.float32)


def mean_field(unary, kernels, compats, normalizations, iterations):
    """The update of the docstring with dense N × N kernels, float64."""
    labels = len(unary)
    u = unary.reshape(labels, -1).astype(np.float64)
    matrices = []
    for k, how in zip(kernels, normalizations):
        mass = k.sum(1)
        left, right = {'symmetric': (0.5, 0.5), 'before': (0, 1), 'after': (1, 0), 'none': (0, 0)}[how]
        matrices.append(mass[:, None] ** -left * k * mass[None] ** -right)
    q = np.exp(-u) / np.exp(-u).sum(0)
    for _ in range(iterations):
        logits = -u
        for k, c in zip(matrices, compats):
            c = np.asarray(c, float)
            c = np.diag(np.broadcast_to(c if c.ndim == 0 else -c, labels)) if c.ndim < 2 else -(c + c.T) / 2
            logits = logits + c @ (q @ k.T)
        q = np.exp(logits - logits.max(0))
        q /= q.sum(0)
    return q.reshape(unary.shape)


@pytest.mark.parametrize('normalization', ['symmetric', 'before', 'after', 'none'])
@pytest.mark.parametrize('labels', [2, 3, 6])
def test_equals_dense_mean_field_on_the_same_kernel(labels, normalization):
    """With the lattice's own N × N matrix as the kernel, only the mean field is tested: equal to float precision."""
    rng = np.random.default_rng(labels)
    image, probability = scene((9, 11), labels)
    unary = unary_from_probability(probability)
    matrix = rng.normal(size=(labels, labels))
    compats = [0.7, matrix * 0.2] if normalization != 'none' else [0.1, rng.uniform(0, 0.1, labels)]
    kernels = [
        Gaussian((2, 3), compats[0], normalization),
        Bilateral(5, (20, 30, 40), compats[1], normalization),
    ]
    # Transposed: a lattice row is what one unit at a pixel sends out.
    dense = [
        Permutohedral(position_features((9, 11), (2, 3))).filter(np.eye(99)),
        Permutohedral(bilateral_features(image, 5, (20, 30, 40))).filter(np.eye(99)),
    ]
    got = dense_crf(unary, image, kernels, 4)
    np.testing.assert_allclose(got, mean_field(unary, dense, compats, [normalization] * 2, 4), atol=1e-4)


@pytest.mark.parametrize('labels', [2, 4])
def test_close_to_exact_gaussian_kernels(labels):
    """Against exact Gaussians instead of the lattice: the labellings agree on 98 % of the pixels."""
    image, probability = scene((28, 32), labels, seed=3)
    unary = unary_from_probability(probability)
    exact = []
    for f in (position_features((28, 32), 3), bilateral_features(image, 10, 20)):
        exact.append(np.exp(-((f[:, None].astype(float) - f[None]) ** 2).sum(-1) / 2))
    want = mean_field(unary, exact, [3, 4], ['symmetric'] * 2, 5)
    got = dense_crf(unary, image, [Gaussian(3, 3), Bilateral(10, 20, 4)], 5)
    assert (got.argmax(0) == want.argmax(0)).mean() > 0.98
    assert (probability.argmax(0) == want.argmax(0)).mean() < 0.9


def test_recovers_the_regions():
    """The noisy labelling is wrong at every fourth pixel; after the CRF nearly none is."""
    image, probability = scene((60, 80), 3, seed=5)
    rng = np.random.default_rng(5)
    truth = np.stack([cv2.GaussianBlur(rng.normal(size=(60, 80)), (0, 0), 7.5) for _ in range(3)]).argmax(0)
    before = (probability.argmax(0) == truth).mean()
    after = (dense_crf(unary_from_probability(probability), image, PSA_KERNELS).argmax(0) == truth).mean()
    assert before < 0.8
    assert after > 0.98


def test_limits():
    image, probability = scene((12, 14), 3)
    unary = unary_from_probability(probability)
    np.testing.assert_allclose(dense_crf(unary, image, (), 10), probability, atol=1e-6)
    np.testing.assert_allclose(dense_crf(unary, image, iterations=0), probability, atol=1e-6)
    # A constant Q stays put: normalised messages to all labels are the same only where the kernel's rows sum to 1.
    flat = dense_crf(np.zeros((4, 12, 14)), image, [Gaussian(3, 3, 'after')])
    np.testing.assert_allclose(flat, 0.25, atol=1e-6)
    # Very large energies neither overflow nor give NaN.
    far = dense_crf(unary * 1e4, image)
    np.testing.assert_allclose(far.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize('labels', [2, 5, 21])
def test_equals_pydensecrf(labels):
    densecrf = pytest.importorskip('pydensecrf.densecrf', reason='the usual package (pydensecrf2) is not installed')
    image, probability = scene((60, 75), labels, seed=labels)
    unary = unary_from_probability(probability)
    for (gauss, bilateral), compat in ((PSA_KERNELS, None), (DEEPLAB_KERNELS, -np.linspace(1, 3, labels))):
        theirs = densecrf.DenseCRF2D(75, 60, labels)
        theirs.setUnaryEnergy(np.ascontiguousarray(unary.reshape(labels, -1)))
        weight = gauss.compat if compat is None else compat.astype(np.float32)  # a vector holds costs, not weights
        theirs.addPairwiseGaussian(sxy=gauss.sxy, compat=weight)
        theirs.addPairwiseBilateral(
            sxy=bilateral.sxy, srgb=bilateral.srgb, rgbim=np.ascontiguousarray(image), compat=bilateral.compat
        )
        want = np.array(theirs.inference(10)).reshape(unary.shape)
        got = dense_crf(unary, image, [gauss._replace(compat=weight), bilateral])
        assert (got.argmax(0) == want.argmax(0)).mean() >= 0.999
        np.testing.assert_allclose(got, want, atol=2e-3)


def test_unary_from_labels():
    got = unary_from_labels(np.array([[0, 2], [1, 255]]), 3, 0.7)
    np.testing.assert_allclose(np.exp(-got[:, 0, 1]), [0.15, 0.15, 0.7], rtol=1e-6)
    np.testing.assert_allclose(np.exp(-got[:, 1, 1]), 1 / 3, rtol=1e-6)
    with pytest.raises(ValueError, match=r'holds \[3, 7\].*0 … 2 or 255'):
        unary_from_labels(np.array([[0, 7], [3, 255]]), 3)


def test_bad_input():
    with pytest.raises(ValueError, match=r'size \(5, 4\), the unary \(4, 4\)'):
        dense_crf(np.zeros((2, 4, 4)), np.zeros((5, 4, 3), np.uint8))
    with pytest.raises(ValueError, match='needs the image'):
        dense_crf(np.zeros((2, 4, 4)))
    with pytest.raises(ValueError, match='two or more labels'):
        dense_crf(np.zeros((1, 4, 4)))
    with pytest.raises(ValueError, match='NaN'):
        dense_crf(np.full((2, 4, 4), np.nan), None, [Gaussian()])
    with pytest.raises(ValueError, match='normalization must be one of'):
        dense_crf(np.zeros((2, 4, 4)), None, [Gaussian(3, 3, 'full')])
    with pytest.raises(ValueError, match=r'compat has shape \(3,\)'):
        dense_crf(np.zeros((2, 4, 4)), None, [Gaussian(3, (1, 2, 3))])
