# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Rollout, gradient times attention and LeGrad by loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmentropy.ops.mapping import attention_maps as ops

N, HEADS, TOKENS, K, BLOCKS = 2, 3, 7, 2, 4


@pytest.fixture
def attention():
    rng = torch.Generator().manual_seed(0)
    return [torch.rand(N, HEADS, TOKENS, TOKENS, generator=rng).softmax(-1) for _ in range(BLOCKS)]


@pytest.fixture
def gradients():
    rng = torch.Generator().manual_seed(1)
    return [torch.randn(N, K, HEADS, TOKENS, TOKENS, generator=rng) for _ in range(BLOCKS)]


def read(mixing: np.ndarray, extra: int) -> np.ndarray:
    return mixing[0, extra:] if extra else mixing.mean(0)


@pytest.mark.parametrize('extra', [0, 1, 3])
def test_rollout_by_loops(extra, attention):
    found = ops.attention_rollout(attention, extra)
    for n in range(N):
        rolled = np.eye(TOKENS)
        for block in attention:
            mixing = 0.5 * block[n].double().numpy().mean(0) + 0.5 * np.eye(TOKENS)
            rolled = mixing / mixing.sum(1, keepdims=True) @ rolled
        np.testing.assert_allclose(found[n], read(rolled, extra), atol=1e-6)
    total = found.sum(1) if not extra else found.sum(1) + 0
    assert (total <= 1 + 1e-5).all()


@pytest.mark.parametrize('extra', [0, 1])
def test_gradient_attention_by_loops(extra, attention, gradients):
    found = ops.gradient_attention(attention, gradients, extra)
    for n, k in np.ndindex(N, K):
        rolled = np.eye(TOKENS)
        for block, slope in zip(attention, gradients):
            mixing = np.maximum(block[n].double().numpy() * slope[n, k].double().numpy(), 0).mean(0)
            rolled = rolled + mixing @ rolled
        np.testing.assert_allclose(found[n, k], read(rolled, extra), rtol=1e-4)


@pytest.mark.parametrize('extra', [0, 2])
def test_legrad_by_loops(extra, gradients):
    found = ops.legrad(gradients, extra)
    for n, k, j in np.ndindex(N, K, TOKENS - extra):
        total = 0.0
        for slope in gradients:
            for h, i in np.ndindex(HEADS, TOKENS):
                total += max(0.0, float(slope[n, k, h, i, j + extra])) / (HEADS * TOKENS * BLOCKS)
        assert float(found[n, k, j]) == pytest.approx(total, rel=1e-4)


def test_attention_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r'must be \(N, heads, n, n\)'):
        ops.attention_rollout([torch.ones(1, 2, 4, 5)])
    with pytest.raises(ValueError, match='at least one block'):
        ops.legrad([])
