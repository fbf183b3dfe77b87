# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import copy

import pytest
import torch
from torch import nn

from mmentropy.models import EntropyPooling
from mmentropy.ops.certainty.entropy import entropy_weights, location_entropy


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(3, 6, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def tied(**options) -> tuple[EntropyPooling, nn.Linear]:
    torch.manual_seed(0)
    linear = nn.Linear(6, 8).double()
    neck = EntropyPooling(**options)
    neck.tie(linear)
    return neck, linear


def test_value_against_the_sum_by_hand(features):
    neck, linear = tied(temperature=0.7, mix=0.3)
    logits = torch.einsum('cd,bdhw->bchw', linear.weight, features) + linear.bias.view(1, -1, 1, 1)
    p = logits.softmax(1)
    w = torch.exp((p * p.log()).sum(1) / 0.7)
    w = w / w.sum((1, 2), keepdim=True)
    expected = 0.7 * (features * w[:, None]).sum((2, 3)) + 0.3 * features.mean((2, 3))
    torch.testing.assert_close(neck(features), expected)


def test_limits_are_gap_and_the_most_certain_location(features):
    gap = features.mean((2, 3))
    torch.testing.assert_close(tied(temperature=1e8)[0](features), gap)
    torch.testing.assert_close(tied(gamma=0.0)[0](features), gap)
    torch.testing.assert_close(tied(mix=1.0)[0](features), gap)
    neck, _ = tied(temperature=1e-4)
    best = neck.entropy(features).flatten(1).argmin(1)
    expected = features.flatten(2)[torch.arange(3), :, best]
    torch.testing.assert_close(neck(features), expected, rtol=1e-3, atol=1e-3)
    neck, linear = tied()
    nn.init.zeros_(linear.weight)
    torch.testing.assert_close(neck(features), gap)  # uniform logits


def test_tuple_tensor_and_batch_of_one(features):
    neck, _ = tied()
    early = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    pooled = neck(features)
    out = neck((early, features))
    torch.testing.assert_close(out[1], pooled)
    torch.testing.assert_close(out[0], early.mean((2, 3)))
    torch.testing.assert_close(neck(features[:1]), pooled[:1])


@pytest.mark.parametrize('score', ['softmax', 'sigmoid'])
@pytest.mark.parametrize('topk', [None, 3])
def test_score_and_topk_bound_the_entropy_of_the_mapping(features, score, topk):
    neck, linear = tied(score=score, topk=topk, mapping='kl')
    entropy = location_entropy(features, linear.weight, linear.bias, score, topk)
    outcomes = 2 if score == 'sigmoid' else topk or 8
    torch.testing.assert_close(neck.weights(features), entropy_weights(entropy, outcomes, 'kl'))


def test_detach_stops_the_gradient_through_the_weights_only(features):
    grads = {}
    for detach in (True, False):
        neck, linear = tied(detach=detach)
        x = features.clone().requires_grad_()
        neck(x).square().sum().backward()
        grads[detach] = x.grad
        assert (linear.weight.grad is None) == detach
    w = tied()[0].weights(features)
    pooled = tied()[0](features)
    torch.testing.assert_close(grads[True], 2 * pooled[:, :, None, None] * w[:, None])
    assert not torch.allclose(grads[True], grads[False])


def test_the_tie_is_a_reference_that_survives_a_deep_copy(features):
    neck, linear = tied()
    assert list(neck.parameters()) == []
    assert neck.state_dict() == {}
    model = copy.deepcopy(nn.ModuleDict({'neck': neck, 'fc': linear}))
    assert model['neck'].classifier is model['fc']
    assert model['neck'].classifier is not linear


def test_own_scorer_learns_through_the_weights(features):
    neck = EntropyPooling(num_classes=8, in_channels=6).double()
    assert set(neck.state_dict()) == {'scorer.weight', 'scorer.bias'}
    neck(features).square().sum().backward()
    assert neck.scorer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'mapping': 'cube'}, 'mapping must be'),
        ({'score': 'tanh'}, 'score must be'),
        ({'mix': 1.5}, r'must be in \[0, 1\]'),
        ({'num_classes': 4}, 'together'),
        ({'num_classes': 4, 'in_channels': 3, 'detach': True}, 'detach must be False'),
        (
            {'weighting': {'gama': 2.0}},
            "weighting has no option 'gama'; it has mapping, temperature, gamma",
        ),
        ({'gama': 2.0}, "no option 'gama'; there are weighting, entropy, mix, scorer, mapping, temperature, gamma"),
        ({'weighting': {'gamma': 2.0}, 'gamma': 2.0}, r'gamma and weighting=dict\(gamma=...\) are the same option'),
        ({'weighting': 'exp'}, "weighting is a dict of options, got 'exp'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        EntropyPooling(**options)


def test_groups_and_flat_names_are_the_same(features):
    """Every option, other than its default, written in its group and by itself."""
    groups = dict(
        weighting=dict(mapping='kl', temperature=0.5, gamma=2.0, eps=0.1, detach=True),
        entropy=dict(score='softmax', topk=3, chunk_size=2),
    )
    grouped, linear = tied(**groups)
    flat, _ = tied(**groups['weighting'], **groups['entropy'])
    mixed, _ = tied(weighting=groups['weighting'], **groups['entropy'])
    entropy = location_entropy(features, linear.weight, linear.bias, 'softmax', 3)
    wanted = entropy_weights(entropy, 3, 'kl', 0.5, 2.0, 0.1)
    for neck in (grouped, flat, mixed):
        torch.testing.assert_close(neck.weights(features), wanted)
        assert not neck.weights(features).requires_grad
    own = EntropyPooling(scorer=dict(num_classes=8, in_channels=6))
    assert own.classifier.weight.shape == EntropyPooling(num_classes=8, in_channels=6).classifier.weight.shape == (8, 6)


def test_untied_says_how_to_tie(features):
    with pytest.raises(ValueError, match=r'LocalizationClassifier.*neck\.tie.*num_classes and in_channels'):
        EntropyPooling()(features)


def test_bf16(features):
    neck, linear = tied()
    linear.bfloat16()
    low = neck(features.bfloat16())
    assert low.dtype == torch.bfloat16
    exact, _ = tied()
    torch.testing.assert_close(low.double(), exact(features), rtol=0.05, atol=0.02)


def test_its_options_for_the_explainer():
    """What EntropyWeightedCAM needs to weigh locations as this neck does."""
    neck = EntropyPooling(mapping='kl', temperature=2.0, gamma=3.0, score='sigmoid', topk=4)
    assert neck.entropy_options == dict(mapping='kl', temperature=2.0, gamma=3.0, score='sigmoid', topk=4)
