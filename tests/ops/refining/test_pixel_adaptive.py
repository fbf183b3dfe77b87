# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Pixel-adaptive refinement against loops over pixels in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmentropy.ops.refining.pixel_adaptive import pixel_adaptive_refinement, pixel_affinity, ring_offsets, shifted


def by_loops(scores, image, dilations, iterations, sharpness):
    _, h, w = scores.shape
    offsets = ring_offsets(dilations)
    for _ in range(iterations):
        out = np.zeros_like(scores)
        for y in range(h):
            for x in range(w):
                places = [(min(max(y + dy, 0), h - 1), min(max(x + dx, 0), w - 1)) for dy, dx in offsets]
                around = np.array([image[:, v, u] for v, u in places])
                spread = np.concatenate([around, image[None, :, y, x]]).std(axis=0, ddof=1)
                kernel = -(np.abs(around - image[:, y, x]) / (1e-8 + sharpness * spread)).mean(axis=1)
                weight = np.exp(kernel - kernel.max())
                weight /= weight.sum()
                out[:, y, x] = sum(a * scores[:, v, u] for a, (v, u) in zip(weight, places))
        scores = out
    return scores


def test_equals_loops():
    rng = np.random.default_rng(0)
    scores, image = rng.uniform(size=(2, 3, 6, 7)), rng.uniform(size=(2, 3, 6, 7))
    got = pixel_adaptive_refinement(torch.from_numpy(scores), torch.from_numpy(image), (1, 2, 9), 3, 0.2)
    for b in range(2):
        np.testing.assert_allclose(got[b], by_loops(scores[b], image[b], (1, 2, 9), 3, 0.2), rtol=1e-9)


def test_shifted():
    maps = torch.arange(6.0).reshape(2, 3)
    assert shifted(maps, 1, -1).tolist() == [[3, 3, 4], [3, 3, 4]]
    assert shifted(maps, 1, -1, 'zero').tolist() == [[0, 3, 4], [0, 0, 0]]
    assert shifted(maps, 0, 7).tolist() == [[2, 2, 2], [5, 5, 5]]


def test_keeps_class_sums_and_respects_edges():
    """Two flat halves: a patch inside one half fills it and does not leak across the edge."""
    image = torch.zeros(1, 3, 12, 12)
    image[..., 6:] = 200
    mask = torch.zeros(1, 1, 12, 12)
    mask[..., 4:8, 1:4] = 1
    scores = torch.cat([mask, 1 - mask], dim=1)
    got = pixel_adaptive_refinement(scores, image, (1, 2), 40)
    torch.testing.assert_close(got.sum(dim=1), torch.ones(1, 12, 12))
    assert got[0, 0, :, 7:].max() < 1e-3
    assert got[0, 0, :, :5].min() > 0.1


def test_scale_of_the_image_does_not_matter():
    image = torch.rand(1, 3, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    offsets = ring_offsets((1, 3))
    torch.testing.assert_close(
        pixel_affinity(image, offsets), pixel_affinity(image * 255 + 40, offsets), atol=1e-5, rtol=1e-4
    )


def test_sizes_must_agree():
    with pytest.raises(ValueError, match='must share batch and size'):
        pixel_adaptive_refinement(torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 5))
