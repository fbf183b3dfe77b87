# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import numpy as np
import pytest

from mmentropy.ops.refining.proposals import decode_run_lengths, vote


def run_lengths(mask: np.ndarray) -> list[int]:
    """Column by column, zeros first, counted one by one."""
    runs, value = [0], False
    for pixel in mask.T.ravel():
        if pixel != value:
            runs.append(0)
            value = not value
        runs[-1] += 1
    return runs


def compressed(runs: list[int]) -> str:
    """COCO's text, written as its description says."""
    text = ''
    for i, run in enumerate(runs):
        x, more = run - (runs[i - 2] if i > 2 else 0), True
        while more:
            group = x & 31
            x >>= 5
            more = x != (-1 if group & 16 else 0)
            text += chr((group | (32 if more else 0)) + 48)
    return text


@pytest.mark.parametrize('size', [(1, 1), (7, 5), (60, 83)])
def test_run_lengths_there_and_back(size):
    rng = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 1.0):
        mask = rng.random(size) < share
        runs = run_lengths(mask)
        np.testing.assert_array_equal(decode_run_lengths(runs, size), mask)
        np.testing.assert_array_equal(decode_run_lengths(compressed(runs), size), mask)
        np.testing.assert_array_equal(decode_run_lengths(compressed(runs).encode(), size), mask)


def test_damaged_run_lengths():
    with pytest.raises(ValueError, match='of 5 pixels do not fill a mask of 2×3'):
        decode_run_lengths([2, 3], (2, 3))
    with pytest.raises(ValueError, match='end within a number'):
        decode_run_lengths(compressed([1000, 200])[:1], (30, 40))
    with pytest.raises(ValueError, match="hold the character ' '"):
        decode_run_lengths('1 2', (2, 2))


def test_vote_pixel_by_pixel():
    rng = np.random.default_rng(0)
    scores, masks, quality = rng.random((3, 6, 7)), rng.random((5, 6, 7)) < 0.3, rng.random(5)
    masks[3] = False
    for power in (0.0, 0.5):
        found, covered = vote(scores, masks, quality, power)
        for i, j in np.ndindex(6, 7):
            over = [m for m in range(5) if masks[m, i, j]]
            assert covered[i, j] == bool(over)
            expected = scores[:, i, j]
            if over:
                weights = np.array([quality[m] * masks[m].sum() ** -power for m in over])
                means = np.array([[scores[c][masks[m]].mean() for c in range(3)] for m in over])
                expected = weights @ means / weights.sum()
            np.testing.assert_allclose(found[:, i, j], expected, rtol=1e-6)
    with pytest.raises(ValueError, match='cannot vote on scores'):
        vote(scores, masks[:, :5])


def test_probabilities_stay_probabilities():
    rng = np.random.default_rng(1)
    scores = rng.dirichlet(np.ones(4), (5, 5)).transpose(2, 0, 1)
    found, _ = vote(scores, rng.random((6, 5, 5)) < 0.4, power=1.0)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)
