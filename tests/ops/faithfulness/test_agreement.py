# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Correlations against scipy, SSIM against its definition, pointing and energy by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from mmentropy.ops.faithfulness.agreement import energy_share, mean_ranks, pearson, pointing_hit, spearman, ssim


def maps(seed: int, ties: bool = False) -> torch.Tensor:
    found = torch.rand(3, 11, 9, generator=torch.Generator().manual_seed(seed))
    return (found * 4).round() / 4 if ties else found


@pytest.mark.parametrize('ties', [False, True])
def test_correlations_are_scipys(ties):
    one, other = maps(0, ties), maps(1, ties) + maps(0)
    for found, wanted in ((pearson, stats.pearsonr), (spearman, stats.spearmanr)):
        by_scipy = [wanted(a.ravel(), b.ravel()).statistic for a, b in zip(one.numpy(), other.numpy())]
        np.testing.assert_allclose(found(one, other), by_scipy, atol=1e-6)
    np.testing.assert_allclose(mean_ranks(one)[0].ravel(), stats.rankdata(one[0].ravel()) - 1)


def test_a_constant_map_is_related_to_nothing():
    assert pearson(maps(0), torch.ones(3, 11, 9)).tolist() == [0, 0, 0]
    assert spearman(torch.zeros(3, 11, 9), maps(0)).tolist() == [0, 0, 0]


def test_ssim_is_its_definition_window_by_window():
    one, other = maps(0).double().numpy(), maps(1).double().numpy()
    found = []
    for a, b in zip(one, other):
        values = []
        for y in range(11 - 6):
            for x in range(9 - 6):
                p, q = a[y : y + 7, x : x + 7].ravel(), b[y : y + 7, x : x + 7].ravel()
                (vp, cov), (_, vq) = np.cov(p, q)
                up = (2 * p.mean() * q.mean() + 1e-4) * (2 * cov + 9e-4)
                values.append(up / ((p.mean() ** 2 + q.mean() ** 2 + 1e-4) * (vp + vq + 9e-4)))
        found.append(np.mean(values))
    np.testing.assert_allclose(ssim(maps(0), maps(1)), found, atol=1e-5)
    assert ssim(maps(0)[:, :3, :3], maps(0)[:, :3, :3]).tolist() == pytest.approx([1, 1, 1])


def test_pointing_by_box_and_mask():
    cam = np.zeros((10, 12))
    cam[4, 7] = 1
    assert pointing_hit(cam, boxes=np.array([[0, 0, 2, 2], [7, 4, 8, 5]]))
    assert not pointing_hit(cam, boxes=np.array([[0, 0, 7, 10]]))
    assert pointing_hit(cam, boxes=np.array([[0, 0, 7, 10]]), tolerance=0.5)
    mask = np.zeros((10, 12))
    mask[0, 7] = 1
    assert not pointing_hit(cam, mask=mask, tolerance=3.9)
    assert pointing_hit(cam, mask=mask, tolerance=4)
    # The mask is the truth where there are both.
    assert not pointing_hit(cam, boxes=np.array([[0, 0, 12, 10]]), mask=mask)
    # Of several maxima the first one in the order of reading.
    cam[9, 11] = 1
    assert not pointing_hit(cam, boxes=np.array([[11, 9, 12, 10]]))


def test_energy_is_the_share_inside():
    rng = np.random.default_rng(0)
    cam = rng.normal(size=(8, 9))
    mask = rng.random((8, 9)) < 0.4
    positive = np.maximum(cam, 0)
    assert energy_share(cam, mask=mask) == pytest.approx(positive[mask].sum() / positive.sum())
    boxes = np.array([[1, 2, 5, 6], [4, 4, 9, 8]])
    inside = np.zeros((8, 9), bool)
    inside[2:6, 1:5] = inside[4:8, 4:9] = True
    assert energy_share(cam, boxes=boxes) == pytest.approx(positive[inside].sum() / positive.sum())
    assert energy_share(np.ones((4, 4)), boxes=np.array([[0.5, 0, 2, 4]])) == pytest.approx(1.5 / 4)
    assert energy_share(-np.ones((4, 4)), boxes=np.array([[0, 0, 4, 4]])) is None


@pytest.mark.parametrize('judge', [pointing_hit, energy_share])
def test_what_cannot_be_judged_is_said(judge):
    with pytest.raises(ValueError, match='needs boxes or a mask'):
        judge(np.ones((4, 4)))
    with pytest.raises(ValueError, match=r'the mask \(3, 4\) and the map \(4, 4\) differ'):
        judge(np.ones((4, 4)), mask=np.ones((3, 4)))
    with pytest.raises(ValueError, match='NaN or infinite'):
        judge(np.full((4, 4), np.nan), mask=np.ones((4, 4)))


def test_an_empty_mask_cannot_be_pointed_at():
    with pytest.raises(ValueError, match='the mask has no object pixel'):
        pointing_hit(np.ones((4, 4)), mask=np.zeros((4, 4)))
