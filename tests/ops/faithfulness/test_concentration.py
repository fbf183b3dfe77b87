# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Gini index and entropy of maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from mmentropy.ops.faithfulness.concentration import complexity, sparseness


def test_sparseness_is_half_the_relative_mean_difference():
    maps = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    for found, cam in zip(sparseness(maps), maps.double().abs().numpy()):
        values = cam.ravel()
        gini = np.abs(values[:, None] - values).mean() / (2 * values.mean())
        assert found.item() == pytest.approx(gini, abs=1e-6)


def test_complexity_is_the_entropy_of_the_shares():
    maps = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    for found, cam in zip(complexity(maps), maps.double().abs().numpy()):
        assert found.item() == pytest.approx(stats.entropy(cam.ravel()), abs=1e-5)


def test_the_ends_of_both_scales():
    point = torch.zeros(1, 4, 5)
    point[0, 2, 3] = 7
    assert sparseness(point).item() == pytest.approx(19 / 20)
    assert complexity(point).item() == 0
    for flat in (torch.full((1, 4, 5), 0.3), torch.zeros(1, 4, 5)):
        assert sparseness(flat).item() == pytest.approx(0, abs=1e-6)
        assert complexity(flat).item() == pytest.approx(np.log(20), abs=1e-6)
    maps = torch.rand(2, 6, 6)
    torch.testing.assert_close(sparseness(5 * maps), sparseness(maps))  # neither knows the scale
    torch.testing.assert_close(complexity(5 * maps), complexity(maps))


@pytest.mark.parametrize('figure', [sparseness, complexity])
def test_bad_maps_are_named(figure):
    with pytest.raises(ValueError, match='they hold NaN'):
        figure(torch.full((1, 2, 2), torch.nan))
    with pytest.raises(ValueError, match=r'got \(2, 2\)'):
        figure(torch.ones(2, 2))
