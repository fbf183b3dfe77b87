# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import math

import pytest
import torch
from torch.autograd import gradcheck

from mmentropy.ops.certainty.entropy import (
    binary_entropy,
    entropy_weights,
    location_entropy,
    max_entropy,
    softmax_entropy,
    weighted_pool,
)


def classifier(num_classes: int = 7, channels: int = 5, size: int = 4, batch: int = 2, seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, channels, size, size + 1, generator=g, dtype=torch.float64)
    weight = torch.randn(num_classes, channels, generator=g, dtype=torch.float64)
    bias = torch.randn(num_classes, generator=g, dtype=torch.float64)
    return features, weight, bias


def direct_entropy(features, weight, bias, score='softmax', topk=None):
    """The obvious way: all logits, probabilities, p log p."""
    logits = torch.einsum('cd,bdhw->bchw', weight, features) + bias.view(1, -1, 1, 1)
    if topk is not None:
        logits = logits.sort(1, descending=True).values[:, :topk]
    if score == 'softmax':
        p = logits.softmax(1)
        return -(p * p.log()).sum(1)
    p = logits.sigmoid()
    return -(p * p.log() + (1 - p) * (1 - p).log()).mean(1)


def test_softmax_entropy_closed_forms():
    assert softmax_entropy(torch.zeros(3, 8)).tolist() == pytest.approx([math.log(8)] * 3)
    # Two equal winners among infinitely worse classes: log 2.
    assert softmax_entropy(torch.tensor([[1e4, 1e4, -1e4]])).item() == pytest.approx(math.log(2))
    p = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    expected = -(0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1))
    assert softmax_entropy(p.log()[None]).item() == pytest.approx(expected, abs=1e-12)
    # A constant added to the logits changes nothing.
    z = torch.randn(4, 6, dtype=torch.float64)
    torch.testing.assert_close(softmax_entropy(z + 123.0), softmax_entropy(z))


def test_binary_entropy_closed_forms():
    z = torch.tensor([0.0, math.log(3), -math.log(3), 1e4, -1e4], dtype=torch.float64)
    quarter = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert binary_entropy(z).tolist() == pytest.approx([math.log(2), quarter, quarter, 0, 0], abs=1e-12)


@pytest.mark.parametrize('score', ['softmax', 'sigmoid'])
@pytest.mark.parametrize('topk', [None, 1, 3, 7])
@pytest.mark.parametrize('chunk_size', [None, 1, 2, 3, 100])
def test_location_entropy_equals_the_direct_way_value_and_gradient(score, topk, chunk_size):
    tensors = [t.requires_grad_() for t in classifier()]
    grad = torch.randn(2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = location_entropy(*tensors, score=score, topk=topk, chunk_size=chunk_size)
    ours_grads = torch.autograd.grad(ours, tensors, grad)
    direct = direct_entropy(*tensors, score=score, topk=topk)
    direct_grads = torch.autograd.grad(direct, tensors, grad)
    torch.testing.assert_close(ours, direct, rtol=1e-10, atol=1e-10)
    for a, b in zip(ours_grads, direct_grads):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(('score', 'topk'), [('softmax', None), ('softmax', 3), ('sigmoid', None)])
@pytest.mark.parametrize('locations', [1, 40, 50])  # one, two and two images of 20 locations at a time
@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_chunks_go_over_groups_of_images(monkeypatch, score, topk, locations, dtype):
    monkeypatch.setattr('mmentropy.ops.certainty.entropy.CHUNK_LOCATIONS', locations)
    tensors = [t.to(dtype).requires_grad_() for t in classifier(batch=5)]
    whole = location_entropy(*tensors, score=score, topk=topk)
    chunked = location_entropy(*tensors, score=score, topk=topk, chunk_size=3)
    torch.testing.assert_close(chunked, whole, rtol=1e-5, atol=1e-6)
    grad = torch.randn(5, 4, 5, dtype=whole.dtype, generator=torch.Generator().manual_seed(1))
    loose = dict(rtol=1e-10, atol=1e-10) if dtype == torch.float64 else dict(rtol=0.05, atol=0.05)
    pair = (torch.autograd.grad(entropy, tensors, grad) for entropy in (chunked, whole))
    for a, b in zip(*pair):
        assert a.dtype == dtype
        torch.testing.assert_close(a, b, **loose)


@pytest.mark.parametrize('score', ['softmax', 'sigmoid'])
def test_location_entropy_gradcheck(score):
    features, weight, bias = (t.requires_grad_() for t in classifier(num_classes=5, size=2))
    assert gradcheck(lambda *a: location_entropy(*a, score=score, chunk_size=2), (features, weight, bias))
    assert gradcheck(lambda *a: location_entropy(*a, score=score), (features, weight, bias))
    assert gradcheck(lambda f, w: location_entropy(f, w, None, score=score, topk=3, chunk_size=2), (features, weight))
    assert gradcheck(lambda f, w: location_entropy(f, w, None, score=score, topk=3), (features, weight))


def test_location_entropy_never_makes_more_than_a_chunk_of_logits(monkeypatch):
    import mmentropy.ops.certainty.entropy as module

    widths = []
    original = module._chunk_logits

    def spy(features, weight, bias, start, stop):
        widths.append(stop - start)
        return original(features, weight, bias, start, stop)

    monkeypatch.setattr(module, '_chunk_logits', spy)
    features, weight, bias = (t.requires_grad_() for t in classifier(num_classes=10))
    location_entropy(features, weight, bias, chunk_size=4).sum().backward()
    assert widths == [4, 4, 2, 4, 4, 2]  # forward, then recomputed in backward
    widths.clear()
    location_entropy(features, weight, bias).sum().backward()
    assert widths == [10]  # all at once: their gradient is kept, they are not computed again


@pytest.mark.parametrize('scale', [1.0, 1e4])
def test_location_entropy_is_finite_for_huge_logits(scale):
    features = torch.tensor([scale, -scale]).view(1, 1, 1, 2).requires_grad_()
    weight = torch.tensor([[1.0], [-1.0], [0.5]])
    entropy = location_entropy(features, weight, chunk_size=1)
    entropy.sum().backward()
    assert torch.isfinite(features.grad).all()
    expected = (
        direct_entropy(features.double(), weight.double(), torch.zeros(3).double())
        if scale == 1
        else torch.zeros(1, 1, 2)
    )
    torch.testing.assert_close(entropy.double(), expected.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_location_entropy_in_half_precision(dtype):
    features, weight, bias = classifier()
    entropy = location_entropy(features.to(dtype), weight.to(dtype), bias.to(dtype), chunk_size=3)
    assert entropy.dtype == torch.float32
    exact = direct_entropy(*(t.to(dtype).double() for t in (features, weight, bias)))
    torch.testing.assert_close(entropy.double(), exact, rtol=0.03, atol=0.03)
    big = location_entropy(torch.full((1, 1, 1, 1), 1e4, dtype=dtype), torch.tensor([[1.0], [-1.0]], dtype=dtype))
    assert big.item() == 0


def test_location_entropy_follows_autocast():
    features, weight, bias = (t.float() for t in classifier())
    with torch.autocast('cpu', torch.bfloat16):
        low = location_entropy(features, weight, bias)
    expected = location_entropy(*(t.bfloat16() for t in (features, weight, bias)))
    torch.testing.assert_close(low, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'features': torch.zeros(2, 3)}, 'features must be'),
        ({'weight': torch.zeros(4, 2)}, 'weight must be'),
        ({'score': 'tanh'}, 'score must be one of'),
        ({'topk': 0}, 'topk must be at least 1'),
        ({'chunk_size': 0}, 'chunk_size must be at least 1'),
    ],
)
def test_location_entropy_says_what_is_wrong(change, message):
    arguments = {'features': torch.zeros(1, 3, 2, 2), 'weight': torch.zeros(4, 3)} | change
    with pytest.raises(ValueError, match=message):
        location_entropy(**arguments)


# ---------------------------------------------------------------------------------------------------------- weights


def entropies(seed: int = 0, num_classes: int = 6) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return softmax_entropy(3 * torch.randn(2, num_classes, 3, 4, generator=g, dtype=torch.float64))


def test_weights_by_hand():
    h = torch.tensor([[[0.0, math.log(2)]]], dtype=torch.float64)
    # exp(-0) : exp(-log 2) = 2 : 1; at T = 0.5 the ratio is squared, with gamma = 2 as well.
    assert entropy_weights(h, 4).flatten().tolist() == pytest.approx([2 / 3, 1 / 3])
    assert entropy_weights(h, 4, temperature=0.5).flatten().tolist() == pytest.approx([4 / 5, 1 / 5])
    assert entropy_weights(h, 4, gamma=2).flatten().tolist() == pytest.approx([4 / 5, 1 / 5])
    # log 4 − 0 : log 4 − log 2 = 2 : 1, up to eps; linear is the same ratio.
    for mapping in ('kl', 'linear'):
        weights = entropy_weights(h, 4, mapping=mapping, eps=1e-12)
        assert weights.flatten().tolist() == pytest.approx([2 / 3, 1 / 3])
        weights = entropy_weights(h, 4, mapping=mapping, gamma=2, eps=1e-12)
        assert weights.flatten().tolist() == pytest.approx([4 / 5, 1 / 5])


@pytest.mark.parametrize('mapping', ['exp', 'kl', 'linear'])
def test_weights_sum_to_one_fall_with_entropy_and_follow_a_permutation(mapping):
    h = entropies()
    w = entropy_weights(h, 6, mapping)
    torch.testing.assert_close(w.sum((1, 2)), torch.ones(2, dtype=torch.float64))
    order = h.flatten(1).argsort(1)
    assert (w.flatten(1).gather(1, order).diff(dim=1) <= 0).all()
    permutation = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    permuted = entropy_weights(h.flatten(1)[:, permutation].view(2, 3, 4), 6, mapping)
    torch.testing.assert_close(permuted.flatten(1), w.flatten(1)[:, permutation])


def test_temperature_limits():
    h = entropies()
    torch.testing.assert_close(entropy_weights(h, 6, temperature=1e9), torch.full_like(h, 1 / 12))
    torch.testing.assert_close(entropy_weights(h, 6, gamma=0.0, mapping='kl'), torch.full_like(h, 1 / 12))
    cold = entropy_weights(h, 6, temperature=1e-4).flatten(1)
    assert (cold.argmax(1) == h.flatten(1).argmin(1)).all()
    torch.testing.assert_close(cold.max(1).values, torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize('mapping', ['exp', 'kl', 'linear'])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('case', ['certain', 'uniform', 'single', 'one class'])
def test_degenerate_weights_are_uniform(mapping, dtype, case):
    num_classes = 1 if case == 'one class' else 5
    value = math.log(5) if case == 'uniform' else 0.0
    shape = (2, 1, 1) if case == 'single' else (2, 3, 3)
    # Half precision rounds log 5 to either side: the clamp has to catch it.
    weights = entropy_weights(torch.full(shape, value, dtype=dtype), num_classes, mapping)
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / weights[0].numel()))


@pytest.mark.parametrize('sign', [1, -1])
def test_weights_are_finite_for_logits_of_ten_thousand(sign):
    features = torch.zeros(1, 1, 2, 2)
    features[0, 0, 0, 0] = sign * 1e4
    entropy = location_entropy(features, torch.tensor([[1.0], [-1.0]]))
    for mapping in ('exp', 'kl', 'linear'):
        weights = entropy_weights(entropy, 2, mapping)
        assert torch.isfinite(weights).all()
        assert weights.flatten().argmax() == 0
        assert weights.sum().item() == pytest.approx(1)


@pytest.mark.parametrize('arguments', [{'mapping': 'cube'}, {'temperature': 0.0}, {'eps': 0.0}, {'gamma': -1.0}])
def test_weights_say_what_is_wrong(arguments):
    with pytest.raises(ValueError, match=r'must be'):
        entropy_weights(torch.zeros(1, 2, 2), 3, **arguments)


def test_max_entropy():
    assert max_entropy(5) == pytest.approx(math.log(5))
    assert max_entropy(5, 'sigmoid') == pytest.approx(math.log(2))


# ---------------------------------------------------------------------------------------------------------- pooling


def test_uniform_logits_give_gap():
    features = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    entropy = location_entropy(features, torch.zeros(7, 4, dtype=torch.float64))
    pooled = weighted_pool(features, entropy_weights(entropy, 7))
    torch.testing.assert_close(pooled, features.mean((2, 3)))


def test_pooled_logits_are_the_weighted_mean_of_the_location_logits():
    features, weight, bias = classifier()
    w = entropy_weights(location_entropy(features, weight, bias), 7)
    pooled = weighted_pool(features, w) @ weight.t() + bias
    logits = torch.einsum('cd,bdhw->bchw', weight, features) + bias.view(1, -1, 1, 1)
    torch.testing.assert_close(pooled, (logits * w[:, None]).sum((2, 3)))


def test_mix_goes_from_weighted_to_mean():
    features, weight, bias = classifier()
    w = entropy_weights(location_entropy(features, weight, bias), 7)
    full, gap = weighted_pool(features, w), features.mean((2, 3))
    torch.testing.assert_close(weighted_pool(features, w, mix=0.25), 0.75 * full + 0.25 * gap)
    torch.testing.assert_close(weighted_pool(features, w, mix=1.0), gap)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_weights_sum(dtype):
    # 1/49 is not representable: without the correction a constant map would not pool to its value.
    features = torch.full((1, 2, 7, 7), 3.0, dtype=dtype)
    pooled = weighted_pool(features, torch.full((1, 7, 7), 1 / 49))
    assert pooled.dtype == dtype
    assert pooled.flatten().tolist() == [3.0, 3.0]
