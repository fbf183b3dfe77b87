# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Score functions against loops, their gradients, and their refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmentropy.ops.mapping import score_functions as ops

B, C, K = 3, 6, 2


@pytest.fixture
def logits():
    return torch.randn(B, C, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def table(logits):
    return torch.tensor([[0, 5], [2, 2], [int(logits[2].argmax()), 1]])


def loops(name, z, c):
    p = np.exp(z) / np.exp(z).sum()
    others = [z[k] for k in range(len(z)) if k != c]
    return {
        'logit': z[c],
        'probability': p[c],
        'log_probability': np.log(p[c]),
        'sigmoid': 1 / (1 + np.exp(-z[c])),
        'log_sigmoid': -np.log(1 + np.exp(-z[c])),
        'margin': z[c] - max(others),
    }[name]


@pytest.mark.parametrize('name', sorted(ops.SCORE_FUNCTIONS))
@pytest.mark.parametrize('dense', [False, True])
def test_named_functions_by_loops(name, dense, logits, table):
    if dense:
        z = torch.randn(B, C, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        found = ops.SCORE_FUNCTIONS[name](z, table)
        for b, k, i, j in np.ndindex(B, K, 2, 3):
            assert float(found[b, k, i, j]) == pytest.approx(loops(name, z[b, :, i, j].numpy(), int(table[b, k])))
        return
    found = ops.SCORE_FUNCTIONS[name](logits, table)
    for b, k in np.ndindex(B, K):
        assert float(found[b, k]) == pytest.approx(loops(name, logits[b].numpy(), int(table[b, k])))


def test_differences():
    z = torch.tensor([[1.0, 2.0, 5.0], [0.0, 1.0, 1.0]])
    assert ops.difference(0, 2)(z).tolist() == [-4.0, -1.0]
    assert ops.difference(2, [0, 1])(z).tolist() == [3.5, 0.5]
    dense = z[:, :, None, None].expand(-1, -1, 2, 2)
    assert ops.difference(0, 2)(dense).shape == (2, 2, 2)


@pytest.mark.parametrize('by', ['mean', 'probability'])
def test_finer_scores_by_loops(by, logits, table):
    found = ops.finer_scores(logits, table, gamma=0.7, references=2, by=by)
    for b, k in np.ndindex(B, K):
        z, c = logits[b].numpy(), int(table[b, k])
        near = sorted((abs(z[d] - z[c]), d) for d in range(C) if d != c)[:2]
        near = [d for _, d in near]
        a = np.exp(z[near]) / np.exp(z[near]).sum() if by == 'probability' else np.full(2, 0.5)
        assert float(found[b, k]) == pytest.approx(z[c] - 0.7 * (a * z[near]).sum())
        assert ops.similar_classes(logits, table, 2)[b, k].tolist() == near
    assert ops.similar_classes(logits, table, 99).shape == (B, K, C - 1)
    with pytest.raises(ValueError, match="'mean' or 'probability'"):
        ops.finer_scores(logits, table, by='sum')
    with pytest.raises(ValueError, match='one class only'):
        ops.finer_scores(logits[:, :1], table * 0)


def test_regions():
    values = torch.arange(12.0).view(1, 2, 2, 3)
    mask = ops.box_mask(torch.tensor([[1.0, 0.0, 3.0, 2.0]]), (2, 3))
    assert mask.tolist() == [[[0, 1, 1], [0, 1, 1]]]
    assert ops.region_mean(values, mask[:, None]).tolist() == [[3.0, 9.0]]
    assert ops.region_mean(values, torch.zeros(1, 1, 2, 3)).tolist() == [[0.0, 0.0]]
    with pytest.raises(ValueError, match='holds no pixel'):
        ops.box_mask(torch.tensor([[1.0, 0.0, 1.2, 2.0]]), (2, 3))
