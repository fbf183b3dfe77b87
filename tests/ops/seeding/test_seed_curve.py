# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The one-pass curve against the usual loop that makes the label map again at every threshold."""

from __future__ import annotations

import numpy as np
import pytest

from mmentropy.ops.seeding.seed_curve import (
    curve_of_counts,
    dataset_curve,
    power_threshold,
    seed_counts,
    seed_curve,
    seed_histogram,
)

CLASSES = 5


def data(seed=0, images=4):
    rng = np.random.default_rng(seed)
    for i in range(images):
        labels = np.sort(rng.permutation(CLASSES - 1)[: i % 3])  # also an image without any class
        # Rounded scores, so that some are equal to a threshold.
        scores = np.round(rng.uniform(size=(len(labels), 9, 11 + i)), 2)
        target = rng.choice([0, 0, 1, 2, 3, 255], scores.shape[1:])  # class 4 never in the truth
        yield scores, labels, target


def reread(triples, thresholds):
    """(S, C, C) confusions by stacking [θ, scores] and taking the argmax, threshold after threshold."""
    confusions = np.zeros((len(thresholds), CLASSES, CLASSES), int)
    for s, theta in enumerate(thresholds):
        for scores, labels, target in triples:
            stacked = np.concatenate([np.full((1, *target.shape), theta), scores])
            called = np.append(0, labels + 1)[stacked.argmax(0)].astype(int)
            for t, p in zip(target[target != 255], called[target != 255]):
                confusions[s, t, p] += 1
    return confusions


def test_equals_rereading():
    thresholds = np.array([0, 0.05, 0.1, 0.33, 0.5, 0.99, 1])
    triples = list(data())
    confusions = reread(triples, thresholds)
    curve = dataset_curve(iter(triples), thresholds, CLASSES)
    with np.errstate(invalid='ignore'):
        for s, c in enumerate(confusions):
            hit = np.diag(c)
            iou = hit / (c.sum(0) + c.sum(1) - hit)
            np.testing.assert_allclose(curve.iou[s], iou)
            np.testing.assert_allclose(curve.precision[s], hit / c.sum(0))
            np.testing.assert_allclose(curve.recall[s], hit / c.sum(1))
            assert curve.miou[s] == pytest.approx(np.nanmean(iou))
    best = curve.miou.argmax()
    assert curve.best == (thresholds[best], curve.miou[best])


def test_small_counts_are_sums_of_the_histogram():
    thresholds = np.array([0, 0.33, 0.5, 1])
    whole, small = 0, 0
    for scores, labels, target in data(seed=3):
        whole = whole + seed_histogram(scores, labels, target, thresholds, CLASSES)
        small = small + seed_counts(scores, labels, target, thresholds, CLASSES)
    np.testing.assert_array_equal(small[0], whole.sum(axis=1))
    np.testing.assert_array_equal(small[1, 1:], whole.sum(axis=0))
    np.testing.assert_array_equal(small[2, 1:], [whole[k + 1, k] for k in range(CLASSES - 1)])
    assert (small[1:, 0] == 0).all()
    for one, other in zip(seed_curve(whole, thresholds), curve_of_counts(small, thresholds)):
        np.testing.assert_array_equal(one, other)


def test_three_hundred_classes():
    """255 is a class there, and 65535 what is left out."""
    scores, target = np.array([[[0.9, 0.8, 0.2]]]), np.array([[255, 65535, 0]])
    counts = seed_counts(scores, np.array([254]), target, np.array([0.5]), 301)
    assert counts.shape == (3, 301, 2)
    assert counts[0].sum() == 2
    curve = curve_of_counts(counts, np.array([0.5]))
    assert (curve.iou[0, 0], curve.iou[0, 255]) == (1, 1)


def test_worked_example():
    """Two pixels of class 1 scored .9 and .2, one of background scored .5."""
    curve = seed_curve(
        seed_histogram(
            np.array([[[0.9, 0.2, 0.5]]]), np.array([0]), np.array([[1, 1, 0]]), np.array([0.1, 0.3, 0.7]), 2
        ),
        [0.1, 0.3, 0.7],
    )
    np.testing.assert_allclose(curve.iou[:, 1], [2 / 3, 1 / 3, 1 / 2])
    np.testing.assert_allclose(curve.iou[:, 0], [0, 0, 1 / 2])
    np.testing.assert_allclose(curve.precision[:, 1], [2 / 3, 1 / 2, 1])
    np.testing.assert_allclose(curve.recall[:, 1], [1, 1 / 2, 1 / 2])
    assert curve.best == (pytest.approx(0.7), pytest.approx(0.5))


@pytest.mark.parametrize('alpha', [1, 4, 16, 32])
def test_the_power_background_is_a_threshold(alpha):
    scores = np.random.default_rng(alpha).uniform(size=1000)
    np.testing.assert_array_equal(scores > (1 - scores) ** alpha, scores > power_threshold(alpha))
    assert power_threshold(1) == pytest.approx(0.5)


def test_bad_input():
    scores, target = np.zeros((1, 3, 3)), np.zeros((3, 3), int)
    with pytest.raises(ValueError, match='do not fit'):
        seed_histogram(scores, np.array([0]), np.zeros((3, 4), int), np.array([0.5]), 3)
    with pytest.raises(ValueError, match=r'labels \[2\] must lie in 0 … 1'):
        seed_histogram(scores, np.array([2]), target, np.array([0.5]), 3)
    with pytest.raises(ValueError, match='target holds 3'):
        seed_histogram(scores, np.array([0]), target + 3, np.array([0.5]), 3)
    with pytest.raises(ValueError, match='need one more'):
        seed_curve(np.zeros((3, 2, 4)), [0.5])
    with pytest.raises(ValueError, match='alpha must be positive'):
        power_threshold(0)
