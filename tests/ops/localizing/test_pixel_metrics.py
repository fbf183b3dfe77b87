# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Pixel scores against numpy's histogram, closed forms and counting by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from wsol_brute_force import make_map

from mmentropy.ops.localizing.pixel_metrics import (
    average_precision,
    confusions,
    dice_scores,
    histogram_edges,
    iou_score,
    mass_shares,
    resize_mask,
    score_histogram,
    upsample_on_device,
)
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.scaling import upsample_map

PROTOCOL = np.append(np.arange(0, 1, 0.001), [1.0, 2.0, 3.0])


def histogram(scores: np.ndarray, mask: np.ndarray, ignore: np.ndarray | None = None) -> np.ndarray:
    edges, _ = histogram_edges()
    ignore = None if ignore is None else torch.from_numpy(ignore)
    return score_histogram(torch.from_numpy(scores), torch.from_numpy(mask), ignore, torch.from_numpy(edges)).numpy()


@pytest.mark.parametrize('kind', ['rough', 'few levels', 'constant'])
def test_histogram_is_numpys(kind):
    rng = np.random.default_rng(0)
    scores = make_map(kind, 60, 50, 0)
    scores.flat[:1000] = (
        np.arange(1000, dtype=np.float32) / 1000
    )  # float32 beside the float64 edges, either side of them
    mask, ignore = rng.random(scores.shape) < 0.3, rng.random(scores.shape) < 0.2
    found = histogram(scores, mask, ignore)
    assert found[1].tolist() == np.histogram(scores[mask], PROTOCOL)[0].tolist()
    assert found[0].tolist() == np.histogram(scores[~mask & ~ignore], PROTOCOL)[0].tolist()
    assert found.sum() == scores.size - (ignore & ~mask).sum()


def test_extra_thresholds_refine_the_protocols_bins():
    edges, protocol = histogram_edges(0.001, [0.2, 0.12345])
    assert len(edges) == len(PROTOCOL) + 1
    np.testing.assert_array_equal(edges[protocol], PROTOCOL)
    assert 0.12345 in edges


def test_average_precision_by_ranking():
    """Distinct scores, one a bin: the mean over the positives of the precision at their rank."""
    rng = np.random.default_rng(0)
    scores = (rng.permutation(900)[:400].reshape(20, 20) + 0.5) / 1000
    mask = rng.random((20, 20)) < 0.3
    ranked = mask.ravel()[np.argsort(-scores.ravel())]
    expected = 100 * (ranked.cumsum() / np.arange(1, 401))[ranked].mean()
    assert average_precision(histogram(scores, mask)) == pytest.approx(expected, rel=1e-12)


def test_average_precision_of_special_maps():
    mask = np.zeros((10, 10), bool)
    mask[:3] = True
    assert average_precision(histogram(np.zeros((10, 10)), mask)) == pytest.approx(30)  # the foreground's share
    assert average_precision(histogram(mask.astype(float), mask)) == pytest.approx(100)
    assert average_precision(histogram(1 - mask.astype(float), mask)) == pytest.approx(30)  # found last, all at once
    assert average_precision(histogram(np.ones((10, 10)), np.zeros((10, 10), bool))) is None


def test_confusions_count_pixels():
    scores, mask = make_map('rough', 30, 40, 1), np.random.default_rng(1).random((30, 40)) < 0.4
    counts = confusions(histogram(scores, mask))
    for i in (0, 1, 250, 500, 999, 1000):
        found = scores >= PROTOCOL[i]
        expected = [(found & mask).sum(), (found & ~mask).sum(), (~found & mask).sum(), (~found & ~mask).sum()]
        assert counts[:, i].tolist() == expected


def test_iou_and_dice_by_hand():
    counts = np.array([6, 2, 4, 8])  # tp, fp, fn, tn
    assert iou_score(counts) == pytest.approx(6 / 12)
    assert dice_scores(counts) == pytest.approx((12 / 18, 16 / 22))
    fore, back = dice_scores(np.array([[0, 5], [3, 0], [0, 5], [7, 0]]))  # first without foreground, then no background
    assert np.isnan(fore).tolist() == [True, False]
    assert np.isnan(back).tolist() == [False, True]
    assert np.isnan(iou_score(np.array([0, 3, 0, 7])))
    # Dice and IoU of one set of counts: F = 2 I / (1 + I)
    i, f = iou_score(counts), dice_scores(counts)[0]
    assert f == pytest.approx(2 * i / (1 + i))


def test_masks_are_resized_as_opencv_does():
    mask = (np.random.default_rng(0).random((37, 61)) < 0.5).astype(np.uint8) * 255
    expected = cv2.resize(mask, (224, 100), interpolation=cv2.INTER_NEAREST) > 127
    np.testing.assert_array_equal(resize_mask(mask, (100, 224)), expected)
    with pytest.raises(ValueError, match=r'shape \(H, W\)'):
        resize_mask(np.zeros((1, 4, 4)), (2, 2))


def test_device_upsampling_is_opencvs():
    cam = np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32)
    found = upsample_on_device(torch.from_numpy(cam), (224, 200)).numpy()
    np.testing.assert_allclose(found, upsample_map(cam, (224, 200)), atol=2e-6)
    assert upsample_on_device(torch.ones(3, 3), (6, 6)).tolist() == np.zeros((6, 6)).tolist()
    with pytest.raises(ValueError, match='NaN or infinite'):
        upsample_on_device(torch.tensor([[0.0, float('inf')]]), (4, 4))


def test_mass_shares_by_hand():
    cam = np.array([[4.0, -9.0], [1.0, 3.0]])
    mask, part = np.array([[1, 1], [0, 1]]), np.array([[1, 0], [0, 0]])
    assert mass_shares(cam, mask, part).tolist() == [0.5, 0.375, 0.125]
    assert mass_shares(-np.abs(cam), mask, part) is None
    with pytest.raises(ValueError, match='NaN or infinite'):
        mass_shares(np.array([[np.nan, 1.0]]), np.ones((1, 2)), np.ones((1, 2)))


def test_wrong_scores_are_named():
    edges = torch.from_numpy(PROTOCOL)
    mask = torch.zeros(2, 2, dtype=torch.bool)
    for bad in (float('nan'), -0.1, 3.0):
        with pytest.raises(ValueError, match='must lie in'):
            score_histogram(torch.full((2, 2), bad), mask, None, edges)
    with pytest.raises(ValueError, match='differ in shape'):
        score_histogram(torch.zeros(2, 3), mask, None, edges)


def test_upsampled_in_place_on_the_device():
    cam, grid = np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32), MapGrid((0, 3), (32, 24), (224, 216))
    found = upsample_on_device(torch.from_numpy(cam), (224, 200), grid).numpy()
    np.testing.assert_allclose(found, upsample_map(cam, (224, 200), grid=grid), atol=2e-6)
    neutral = MapGrid.half_pixel((7, 9), (224, 288))
    plain = upsample_on_device(torch.from_numpy(cam), (224, 200))
    assert torch.equal(upsample_on_device(torch.from_numpy(cam), (224, 200), neutral), plain)
