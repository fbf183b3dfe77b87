# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Region growing against the paper's way: visit the neighbours of the region until nothing changes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmentropy.ops.refining.region_growing import grow_regions


def visit_neighbours(cues, probability, present, fg, bg):
    c_, h, w = cues.shape
    grown = cues & present[:, None, None]
    label = {}
    for c in range(c_):
        for y, x in zip(*np.nonzero(grown[c])):
            label.setdefault((y, x), set()).add(c)
    queue = [(y, x, c) for (y, x), classes in label.items() for c in classes]
    while queue:
        y, x, c = queue.pop()
        for v in range(max(y - 1, 0), min(y + 2, h)):
            for u in range(max(x - 1, 0), min(x + 2, w)):
                if (v, u) in label:
                    continue
                allowed = [k for k in range(c_) if present[k]]
                best = max(allowed, key=lambda k: probability[k, v, u])
                if best == c and probability[c, v, u] > (fg if c else bg):
                    label[v, u] = {c}
                    grown[c, v, u] = True
                    queue.append((v, u, c))
    return grown


@pytest.mark.parametrize('seed', range(6))
def test_equals_visiting_neighbours(seed):
    rng = np.random.default_rng(seed)
    logits = np.stack([cv2.GaussianBlur(rng.normal(size=(24, 30)), (0, 0), 2) for _ in range(4)]) * 25
    probability = np.exp(logits) / np.exp(logits).sum(0)
    cues = rng.uniform(size=probability.shape) < 0.02
    present = np.array([True, True, seed % 2 == 0, True])
    want = visit_neighbours(cues, probability, present, 0.6, 0.8)
    got = grow_regions(cues, probability, present, 0.6, 0.8)
    np.testing.assert_array_equal(got, want)
    assert want.sum() > 2 * (cues & present[:, None, None]).sum()  # something did grow


def test_diagonals_connect_and_absent_classes_vanish():
    probability = np.full((3, 4, 4), 0.01)
    probability[1][np.eye(4, dtype=bool)] = 0.98
    cues = np.zeros((3, 4, 4), bool)
    cues[1, 0, 0] = cues[2, 3, 0] = True
    got = grow_regions(cues, probability, np.array([False, True, False]))
    np.testing.assert_array_equal(got[1], np.eye(4, dtype=bool))
    assert not got[2].any()


def test_background_needs_its_own_threshold():
    probability = np.stack([np.full((1, 3), 0.9), np.full((1, 3), 0.1)])
    cues = np.zeros((2, 1, 3), bool)
    cues[0, 0, 0] = True
    present = np.array([True, True])
    assert grow_regions(cues, probability, present)[0].tolist() == [[True, False, False]]
    assert grow_regions(cues, probability, present, bg_threshold=0.8)[0].all()


def test_shapes_must_agree():
    with pytest.raises(ValueError, match='do not fit'):
        grow_regions(np.zeros((2, 3, 3), bool), np.zeros((2, 3, 4)), np.ones(2, bool))
