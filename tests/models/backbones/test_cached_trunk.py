# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import pytest
import torch
from mmpretrain.structures import DataSample

from mmentropy.models import LocalizationClassifier
from mmentropy.ops.mapping.geometry import MapGrid

GRID = dict(map=(4, 5), start=(3.5, 3.5), step=(8, 8), size=(32, 40))


def model(**options) -> LocalizationClassifier:
    torch.manual_seed(0)
    return LocalizationClassifier(
        dict(type='mmentropy.CachedTrunk', channels=6, **options),
        dict(type='mmentropy.EntropyPooling'),
        dict(type='mmentropy.CAMHead', num_classes=3),
        map_classes='all',
    ).eval()


def test_features_pass_and_look_where_the_trunk_did():
    features = torch.randn(2, 6, 4, 5).half()
    network = model(grids=[GRID])
    sample = network.predict(features, [DataSample(), DataSample()])[0]
    expected = torch.einsum('cd,dhw->chw', network.head.fc.weight, features[0].float())
    torch.testing.assert_close(sample.cams, expected)
    assert sample.map_grid == MapGrid((3.5, 3.5), (8, 8), (32, 40))
    assert 'map_grid' not in network.predict(torch.randn(1, 6, 7, 7), [DataSample()])[0]
    assert {key.split('.')[0] for key in network.state_dict()} == {'head'}


def test_other_features_are_refused():
    with pytest.raises(ValueError, match=r'features of a cache are \(N, 6, h, w\), got \(1, 8, 4, 5\)'):
        model().backbone(torch.zeros(1, 8, 4, 5))
