# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Readings against loops over locations."""

from __future__ import annotations

import math

import pytest
import torch

from mmentropy.ops.mapping import reading as reading_module
from mmentropy.ops.mapping.reading import READINGS, Reading, attention_affinity, read_maps, spread_by_features


def batch(h, w, seed=0, images=2, classes=3, channels=5):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(images, classes, h, w, generator=generator)
    entropy = torch.rand(images, h, w, generator=generator) * 2
    return maps, entropy, torch.randn(images, channels, h, w, generator=generator)


def brute_affinity(feature, power, radius=math.inf):
    """(L, L) of one image's (D, h, w) features, pair by pair."""
    _, h, w = feature.shape
    f = feature.flatten(1).T.double()
    f = f - f.mean(0)
    rows = []
    for i in range(h * w):
        row = []
        for j in range(h * w):
            near = max(abs(i // w - j // w), abs(i % w - j % w)) <= radius
            cos = float(f[i] @ f[j] / (f[i].norm() * f[j].norm()).clamp(min=1e-12))
            row.append(1.0 if i == j else max(0.0, cos) ** power if near else 0.0)
        rows.append([value / sum(row) for value in row])
    return torch.tensor(rows, dtype=torch.float64)


def brute_read(maps, entropy, features, reading, affinity=None):
    out = maps.double().clone()
    for b in range(len(maps)):
        for k in range(maps.shape[1]):
            for y in range(maps.shape[2]):
                for x in range(maps.shape[3]):
                    value = float(maps[b, k, y, x])
                    value = max(0.0, value) if reading.relu else value
                    if reading.certain:
                        value *= math.exp(-float(entropy[b, y, x]) / reading.temperature)
                    out[b, k, y, x] = value
        if reading.spread:
            a = brute_affinity(features[b], reading.power) if affinity is None else affinity[b].double()
            for _ in range(reading.spread):
                out[b] = (a @ out[b].flatten(1).T).T.reshape(out[b].shape)
    return out


@pytest.mark.parametrize(
    'reading',
    [
        *READINGS.values(),
        Reading(certain=True, temperature=0.3),
        Reading(relu=True, spread=2, power=2),
        Reading(spread=1, power=1),
        Reading(certain=True, spread=3, power=2.5, temperature=4),
    ],
)
def test_against_loops(reading):
    maps, entropy, features = batch(4, 5)
    affinity = None
    if reading.needs_attention:
        affinity = torch.rand(len(maps), 20, 20).softmax(2)
    expected = brute_read(maps, entropy, features, reading, affinity)
    assert torch.allclose(read_maps(maps, entropy, features, reading, affinity).double(), expected, atol=1e-5)


def test_protocol_is_the_raw_map():
    maps, _, _ = batch(3, 4)
    assert torch.equal(read_maps(maps), maps)
    assert torch.equal(read_maps(maps, reading='protocol'), maps)


@pytest.mark.parametrize('entries', [1, 40, 500])
def test_chunks_change_nothing(entries, monkeypatch):
    maps, _, features = batch(5, 4)
    whole = spread_by_features(maps, features, 4, 2)
    windowed = spread_by_features(maps, features, 4, 2, radius=2)
    monkeypatch.setattr(reading_module, 'CHUNK_ENTRIES', entries)
    assert torch.allclose(spread_by_features(maps, features, 4, 2), whole, atol=1e-6)
    assert torch.allclose(spread_by_features(maps, features, 4, 2, radius=2), windowed, atol=1e-6)


@pytest.mark.parametrize('radius', [1, 2, 9])
def test_windows_against_loops(radius):
    maps, _, features = batch(5, 6)
    found = spread_by_features(maps, features, 3, radius=radius)
    for b in range(2):
        a = brute_affinity(features[b], 3, radius)
        expected = (a @ maps[b].flatten(1).T.double()).T.reshape(maps[b].shape)
        assert torch.allclose(found[b].double(), expected, atol=1e-5)


def test_large_maps_take_windows(monkeypatch):
    maps, _, features = batch(5, 6)
    monkeypatch.setattr(reading_module, 'MOST_GLOBAL', 29)
    monkeypatch.setattr(reading_module, 'WINDOW_RADIUS', 1)
    assert torch.equal(spread_by_features(maps, features), spread_by_features(maps, features, radius=1))
    monkeypatch.setattr(reading_module, 'MOST_GLOBAL', 30)
    assert torch.equal(spread_by_features(maps, features), spread_by_features(maps, features, radius=None))
    assert not torch.allclose(spread_by_features(maps, features), spread_by_features(maps, features, radius=1))


def test_spread_takes_the_mean_over_what_looks_alike():
    # Two kinds of location, opposite about the image's mean: each takes the mean of its kind.
    maps = torch.tensor([[[[1.0, 2.0, 3.0, 10.0]]]])
    features = torch.tensor([[[[5.0, 5.0, 1.0, 1.0]]]])
    assert read_maps(maps, features=features, reading=Reading(spread=1)).flatten().tolist() == [1.5, 1.5, 6.5, 6.5]


def test_features_all_alike_keep_the_map():
    # Nothing differs from the mean: no direction, no neighbours; a location is always like itself.
    maps, _, _ = batch(3, 3)
    assert torch.equal(spread_by_features(maps, torch.full((2, 5, 3, 3), 7.0)), maps)


def test_a_given_affinity():
    maps, entropy, features = batch(3, 4)
    affinity = torch.rand(2, 12, 12)
    affinity[0, 5] = 0
    rows = affinity / affinity.sum(2, keepdim=True)
    rows[0, 5] = torch.eye(12)[5]
    reading = Reading(relu=True, certain=True, spread=2)
    found = read_maps(maps, entropy, features, reading, affinity=affinity)
    assert torch.allclose(found.double(), brute_read(maps, entropy, features, reading, rows), atol=1e-5)


def test_attention_affinity_is_doubly_stochastic():
    attention = torch.rand(2, 9, 9).softmax(-1) ** 3
    found = attention_affinity(attention, steps=50)
    assert torch.allclose(found, found.transpose(1, 2))
    assert torch.allclose(found.sum(1), torch.ones(2, 9), atol=1e-5)
    one = attention[0].double()
    for _ in range(2):
        one = torch.stack([row / row.sum() for row in one])
        one = torch.stack([column / column.sum() for column in one.T]).T
    assert torch.allclose(attention_affinity(attention[:1], steps=2)[0].double(), (one + one.T) / 2, atol=1e-6)
    with pytest.raises(ValueError, match=r'\(\.\.\., L, L\)'):
        attention_affinity(torch.rand(2, 9, 8))


def test_half_precision_and_gradients():
    maps, entropy, features = batch(4, 4)
    found = read_maps(maps.half(), entropy, features.half(), 'certain+spread')
    assert found.dtype == torch.float16
    assert torch.allclose(found.float(), read_maps(maps, entropy, features, 'certain+spread'), atol=5e-3)
    assert not read_maps(maps.requires_grad_(), entropy, reading='certain').requires_grad


def test_readings_from_configs():
    assert Reading.of({'relu': True, 'certain': True}) == Reading.named('certain')
    assert Reading.of(Reading(spread=2)) == Reading(spread=2)
    assert {name: (r.relu, r.needs_entropy, r.needs_features) for name, r in READINGS.items()} == {
        'protocol': (False, False, False),
        'relu': (True, False, False),
        'certain': (True, True, False),
        'certain+spread': (True, True, True),
        'certain+attention': (True, True, True),
    }
    assert [name for name, reading in READINGS.items() if reading.needs_attention] == ['certain+attention']
    for bad, told in (
        ('sure', 'protocol, relu, certain, certain'),
        ({'sure': True}, "no 'sure'"),
        ({'temperature': 0}, 'temperature'),
        ({'power': -1}, 'power'),
        ({'spread': -1}, 'steps'),
        ({'spread': 0.5}, 'steps'),
    ):
        with pytest.raises(ValueError, match=told):
            Reading.of(bad)


def test_missing_and_misfit_inputs_are_told():
    maps, entropy, features = batch(4, 5)
    for args, told in (
        ((maps, None, features, 'certain'), 'needs the location entropy'),
        ((maps, entropy, None, 'certain+spread'), 'needs them'),
        ((maps, entropy[:, :3], features, 'certain'), 'entropy must be'),
        ((maps, entropy, features[:, :, :3], 'certain+spread'), 'features must be'),
        ((maps[0], entropy, features, 'certain'), 'maps must be'),
        ((maps, entropy, features, 'certain+spread', torch.rand(2, 5, 5)), 'affinity must be'),
    ):
        with pytest.raises(ValueError, match=told):
            read_maps(*args)
