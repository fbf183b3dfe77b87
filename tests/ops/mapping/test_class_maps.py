# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Class activation maps against a loop over classes and locations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmentropy.ops.mapping.class_maps import class_activation_maps

FEATURES = torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(0))
WEIGHT = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))


def by_loops() -> torch.Tensor:
    maps = np.zeros((2, 5, 3, 4))
    for n, c, y, x in np.ndindex(maps.shape):
        maps[n, c, y, x] = sum(float(WEIGHT[c, k] * FEATURES[n, k, y, x]) for k in range(6))
    return torch.from_numpy(maps).float()


def test_values():
    torch.testing.assert_close(class_activation_maps(FEATURES, WEIGHT), by_loops())


def test_some_classes_for_all_and_each_images_own():
    expected = by_loops()
    torch.testing.assert_close(class_activation_maps(FEATURES, WEIGHT, torch.tensor([3, 1])), expected[:, [3, 1]])
    own = torch.tensor([[0, 4, 4], [2, 1, 0]])
    found = class_activation_maps(FEATURES, WEIGHT, own)
    torch.testing.assert_close(found, torch.stack([expected[0, own[0]], expected[1, own[1]]]))


def test_negative_evidence_stays_and_the_type_is_the_features():
    found = class_activation_maps(FEATURES.half(), WEIGHT)
    assert found.dtype == torch.float16
    assert (found < 0).any()


def test_classes_of_another_batch_are_refused():
    with pytest.raises(ValueError, match=r'classes must be \(K,\) or \(2, K\) for this batch, got \(3, 2\)'):
        class_activation_maps(FEATURES, WEIGHT, torch.zeros(3, 2, dtype=torch.long))
    with pytest.raises(IndexError):
        class_activation_maps(FEATURES, WEIGHT, torch.tensor([5]))
