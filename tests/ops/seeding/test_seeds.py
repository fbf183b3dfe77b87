# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import numpy as np
import pytest

from mmentropy.ops.seeding.seed_curve import power_threshold
from mmentropy.ops.seeding.seeds import (
    confident_map,
    constant_background,
    dsrg_cues,
    entropy_background,
    power_background,
    saliency_background,
    scale_to_peak,
    seed_map,
    to_probabilities,
)

SCORES = np.array([[[0.1, 0.6, 0.2]], [[0.3, 0.5, 0.04]]])
LABELS = np.array([4, 7])


def test_scale_to_peak():
    got = scale_to_peak(np.array([[[-1.0, 2.0, 4.0]], [[-3.0, -2.0, -1.0]]]))
    np.testing.assert_allclose(got, [[[0, 0.5, 1]], [[0, 0, 0]]])


def test_backgrounds():
    np.testing.assert_allclose(power_background(SCORES, 2), [[0.49, 0.16, 0.64]], rtol=1e-6)
    np.testing.assert_allclose(power_background(SCORES[:0], 4), [[1, 1, 1]])
    np.testing.assert_allclose(constant_background(SCORES, 0.2), [[0.2, 0.2, 0.2]])
    entropy = np.array([[0.5, 1.0, 2.5]])
    np.testing.assert_allclose(entropy_background(entropy), [[0, 0.25, 1]])
    np.testing.assert_allclose(entropy_background(entropy, 2, highest=2), [[0.0625, 0.25, 1]])
    np.testing.assert_allclose(entropy_background(np.ones((2, 2))), 0)
    with pytest.raises(ValueError, match='NaN'):
        entropy_background(np.array([[np.nan]]))
    with pytest.raises(ValueError, match='highest must be positive'):
        entropy_background(entropy, highest=0)
    np.testing.assert_allclose(saliency_background(np.array([[0, 0.5, 1]]), 2), [[1, 0.25, 0]])
    with pytest.raises(ValueError, match=r'saliency lies in \[0, 1\], found 0 to 255'):
        saliency_background(np.array([[0, 255]]))


def test_to_probabilities():
    scores = np.array([[[2.0, -1.0, 0.0]], [[6.0, 0.5, 0.0]]])
    np.testing.assert_allclose(to_probabilities(scores, 0.5), [[[0.25, 0.5, 0.5]], [[0.75, 0.5, 0.5]]])
    np.testing.assert_allclose(to_probabilities(scores).sum(axis=0), 1)


def test_seed_map():
    assert seed_map(SCORES, LABELS, constant_background(SCORES, 0.2)).tolist() == [[8, 5, 0]]  # 0.2 ties: background
    assert seed_map(SCORES[:0], LABELS[:0], constant_background(SCORES)).tolist() == [[0, 0, 0]]
    # The power background and its threshold give the same seeds.
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=(2, 20, 20))
    np.testing.assert_array_equal(
        seed_map(scores, LABELS, power_background(scores, 4)),
        seed_map(scores, LABELS, constant_background(scores, power_threshold(4))),
    )


def test_confident_map():
    assert confident_map(SCORES, LABELS, 0.2, 0.4).tolist() == [[255, 5, 0]]
    with pytest.raises(ValueError, match='upside down'):
        confident_map(SCORES, LABELS, 0.5, 0.4)


def test_dsrg_cues():
    """A large class over the left half, a small one inside it; background where the contrast is low."""
    scores = np.zeros((2, 8, 8), np.float32)
    scores[0, :, :4] = 1.0
    scores[0, :, 4] = 0.15  # under a fifth of the maximum
    scores[1, 2:4, 1:3] = 0.5
    contrast = np.ones((8, 8), np.float32)
    contrast[:, 6:] = 0.01
    contrast[0, 0] = 0.01  # an object's cue goes first
    cues = dsrg_cues(scores, np.array([2, 0]), contrast, num_classes=4, size=(8, 8))
    want = np.zeros((4, 8, 8), bool)
    want[3, :, :4] = True
    want[3, 2:4, 1:3] = False
    want[1, 2:4, 1:3] = True
    want[0, :, 6:] = True
    np.testing.assert_array_equal(cues, want)


def test_dsrg_cues_by_share():
    """bg_threshold=None takes the lowest tenth of an entropy contrast, whatever its scale."""
    contrast = np.arange(100, dtype=np.float32).reshape(10, 10)
    for scale in (1, 1e-3):
        cues = dsrg_cues(np.zeros((0, 10, 10)), np.array([], int), contrast * scale, 3, (10, 10), bg_threshold=None)
        assert cues[0].sum() == 10
        assert cues[0, 0].all()
        assert not cues[1:].any()


def test_cues_have_the_usual_grid():
    rng = np.random.default_rng(0)
    cues = dsrg_cues(rng.uniform(size=(1, 20, 30)), np.array([19]), rng.uniform(size=(20, 30)))
    assert cues.shape == (21, 41, 41)
    assert cues.sum(axis=0).max() == 1


def test_more_classes_than_a_byte_holds():
    labels = np.array([254, 298])
    wide = seed_map(SCORES, labels, constant_background(SCORES, 0.2), num_classes=300)
    assert wide.dtype == np.uint16
    assert wide.tolist() == [[299, 255, 0]]
    assert confident_map(SCORES, labels, 0.05, 0.4, num_classes=300).tolist() == [[65535, 255, 65535]]
    with pytest.raises(ValueError, match=r'labels \[254, 298\] must lie in 0 … 253'):
        seed_map(SCORES, labels, constant_background(SCORES, 0.2))
