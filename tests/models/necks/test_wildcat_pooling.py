# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""WILDCAT pooling in numbers: the highest locations, less the lowest."""

from __future__ import annotations

import pytest
import torch

from mmentropy.models.necks import WildcatPooling

FEATURES = torch.tensor([[[[4.0, 2.0, 0.0, -2.0]]]])


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(kmax=1, alpha=0.0), 4.0),
        (dict(kmax=2, kmin=1, alpha=0.5), 3.0 - 1.0),
        (dict(kmax=0.5, kmin=0.5, alpha=1.0), 3.0 - 1.0),
        (dict(kmax=1, kmin=0, alpha=9.0, mix=0.5), 2.5),
    ],
)
def test_values(options, expected):
    assert WildcatPooling(of='features', **options)(FEATURES).item() == expected


def test_of_all_locations_it_is_gap():
    assert WildcatPooling(kmax=1.0, alpha=0.0).neutral
    assert not WildcatPooling(kmax=1.0, kmin=1, alpha=0.5).neutral
    assert WildcatPooling(kmax=1.0, alpha=0.0, of='features')(FEATURES).item() == 1.0


def test_options():
    assert 'kmax=0.2' in repr(WildcatPooling())
    with pytest.raises(ValueError, match='WildcatPooling: kmax must select'):
        WildcatPooling(kmax=0)
