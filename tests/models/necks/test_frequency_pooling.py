# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The neck is the formula on the last map."""

from __future__ import annotations

import pytest
import torch

from mmentropy.models.necks import FrequencyPooling
from mmentropy.ops.certainty.frequency import frequency_pool


@pytest.mark.parametrize('transform', ['dft', 'dct'])
def test_formula_on_the_last_map(transform):
    maps = torch.rand(2, 3, 4, 5)
    neck = FrequencyPooling(3, size=3, transform=transform)
    (pooled,) = neck((torch.zeros(2, 1, 8, 8), maps))
    assert torch.equal(pooled, frequency_pool(maps, 3, transform))
    assert pooled.shape[1] == neck.out_channels
    assert f'size=3, transform={transform!r}' in repr(neck)


def test_options():
    with pytest.raises(ValueError, match='FrequencyPooling: transform is one of'):
        FrequencyPooling(3, transform='fft')
