# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import pytest
import torch

from mmentropy.models import WildcatHead
from mmentropy.ops.certainty.entropy import softmax_entropy


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(2, 6, 5, 4, generator=torch.Generator().manual_seed(0))


def head(**options) -> WildcatHead:
    torch.manual_seed(1)
    built = WildcatHead(num_classes=3, in_channels=6, **options)
    torch.nn.init.normal_(built.fc.weight)
    torch.nn.init.normal_(built.fc.bias)
    return built


def test_is_m_maps_a_class_their_mean_and_the_mean_of_the_highest(features):
    h = head(maps_per_class=4, kmax=0.2)
    every = torch.einsum('ek,nkhw->nehw', h.fc.weight, features) + h.fc.bias.view(1, -1, 1, 1)
    maps = torch.stack([every[:, 4 * c : 4 * c + 4].mean(1) for c in range(3)], 1)
    torch.testing.assert_close(h.class_maps(features), maps)
    torch.testing.assert_close(h((features,)), maps.flatten(2).sort(-1, descending=True).values[..., :4].mean(-1))
    bias = torch.stack([h.fc.bias[4 * c : 4 * c + 4].mean() for c in range(3)])
    torch.testing.assert_close(h.maps(features, torch.tensor([2, 0])), maps[:, [2, 0]] - bias[[2, 0]].view(1, 2, 1, 1))
    torch.testing.assert_close(h.entropy_map(features), softmax_entropy(maps))


def test_one_map_and_all_locations_is_pooling_and_a_linear_layer(features):
    h = head(maps_per_class=1, kmax=1.0)
    torch.testing.assert_close(h((features,)), h.fc(features.mean((2, 3))))


def test_refuses_what_it_cannot_do(features):
    with pytest.raises(ValueError, match='leave the neck out'):
        head()((features.mean((2, 3)),))
    for wrong, message in (
        (dict(maps_per_class=0), 'maps_per_class must be at least 1'),
        (dict(kmax=0), 'kmax must select'),
        (dict(kmin=-1), 'kmin is a count'),
        (dict(auxiliary_gap=0.5), 'auxiliary_gap belongs to CAMHead'),
    ):
        with pytest.raises(ValueError, match=message):
            head(**wrong)
