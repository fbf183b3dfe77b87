# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import pytest
import torch
from mmpretrain.structures import DataSample

from mmentropy.models import TriRegionHead


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(2, 6, 5, 4, generator=torch.Generator().manual_seed(0))


def head(**options) -> TriRegionHead:
    torch.manual_seed(1)
    built = TriRegionHead(num_classes=3, in_channels=6, **options)
    torch.nn.init.normal_(built.fc.weight)
    torch.nn.init.normal_(built.fc.bias)
    return built


def samples(*labels) -> list[DataSample]:
    return [DataSample().set_gt_label(label) for label in labels]


def by_hand(h, features):
    """Shares by exponentials, the regions' means by loops over locations, and their logits."""
    layer = h.regions[-1]
    scores = torch.einsum('rd,bdhw->brhw', layer.weight[:, :, 0, 0], features) + layer.bias.view(1, -1, 1, 1)
    shares = scores.exp() / scores.exp().sum(1, keepdim=True)
    means = torch.einsum('brhw,bdhw->brd', shares, features) / shares.sum((2, 3))[..., None]
    return shares, means @ h.fc.weight.T + h.fc.bias


def test_the_object_is_classified_and_the_background_must_not_be(features):
    h = head(background_weight=0.7)
    shares, logits = by_hand(h, features)
    torch.testing.assert_close(h.shares(features), shares)
    torch.testing.assert_close(h((features,)), logits[:, 0], atol=1e-5, rtol=1e-5)
    losses = h.loss((features,), samples(2, 0))
    p = logits.softmax(2)
    labels = torch.tensor([2, 0])
    own = p[torch.arange(2), :, labels]  # of object, background, unsure
    torch.testing.assert_close(losses['loss'], -own[:, 0].log().mean())
    torch.testing.assert_close(losses['loss_background'], -0.7 * (1 - own[:, 1]).log().mean(), atol=1e-5, rtol=1e-5)
    uniform = head(background='uniform').loss((features,), samples(2, 0))['loss_background']
    divergence = (1 / 3 * (1 / 3 / p[:, 1]).log()).sum(1).mean()
    torch.testing.assert_close(uniform, divergence, atol=1e-5, rtol=1e-5)


def test_several_labels(features):
    h = head(multi_label=True)
    _, logits = by_hand(h, features)
    hot = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    some = [DataSample().set_gt_score(row) for row in hot]
    absent = -(1 - logits[:, 1].sigmoid()).log()
    expected = ((absent * hot).sum(1) / hot.sum(1)).mean()
    torch.testing.assert_close(h.loss((features,), some)['loss_background'], expected, atol=1e-5, rtol=1e-5)


def test_the_background_moves_the_regions_alone(features):
    h = head()
    h.loss((features,), samples(0, 1))['loss_background'].backward()
    assert h.fc.weight.grad is None
    assert h.regions[-1].weight.grad[1].any()


def test_maps_are_the_objects_share_or_class_maps(features):
    shares, _ = by_hand(head(), features)
    found = head().maps(features, torch.tensor([[2, 0], [1, 1]]))
    torch.testing.assert_close(found, shares[:, :1].expand(-1, 2, -1, -1))
    h = head(map='cam')
    expected = torch.einsum('cd,bdhw->bchw', h.fc.weight, features)
    torch.testing.assert_close(h.maps(features), expected)
    assert head(hidden=16).shares(features).shape == (2, 3, 5, 4)


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(background='none'), "background is one of .*, got 'none'"),
        (dict(map='both'), "map one of .*'both'"),
        (dict(background_weight=-1), 'are 0 or more, got -1'),
        (dict(auxiliary_gap=0.5), 'pools by its own regions'),
        (dict(multi_label=True, background='uniform'), 'for single labels'),
    ],
)
def test_refuses_wrong_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        head(**options)


def test_refuses_pooled_features(features):
    with pytest.raises(ValueError, match='leave the neck out'):
        head()((features.mean((2, 3)),))
