# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Attention is seen whoever computes it, and the network's numbers stay the same."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmentropy.explain.attending import AttentionRecorder


class Plain(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.qkv, self.how, self.soft = nn.Linear(8, 24), how, nn.Softmax(dim=-1)

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        if self.how == 'fused':
            return F.scaled_dot_product_attention(q, k, v)
        if self.how == 'masked':
            return F.scaled_dot_product_attention(q, k, v, attn_mask=torch.ones(6, 6).tril() > 0)
        if self.how == 'causal':
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3)
        logits = q @ k.transpose(-1, -2) / 2
        return (self.soft(logits) if self.how == 'module' else logits.softmax(-1)) @ v


@pytest.fixture
def tokens():
    return torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('how', ['fused', 'masked', 'causal', 'module', 'method'])
def test_every_way_to_attend_is_seen(how, tokens):
    torch.manual_seed(0)
    model, recorder = Plain(how).eval(), AttentionRecorder()
    with torch.no_grad():
        expected = model(tokens)
        with recorder.watching(model):
            found = model(tokens)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    (call,) = recorder.calls
    q, k, _ = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in model.qkv(tokens).chunk(3, -1))
    logits = q @ k.transpose(-1, -2) * (0.3 if how == 'causal' else 0.5)
    if how in ('masked', 'causal'):
        logits = logits.masked_fill(torch.ones(6, 6).triu(1) > 0, -torch.inf)
    torch.testing.assert_close(call.probabilities, logits.softmax(-1).detach())
    assert call.modules[0] == ''


@pytest.mark.parametrize('batch_first', [True, False])
@pytest.mark.parametrize('options', [{'need_weights': False}, {}, {'average_attn_weights': False}])
def test_multi_head_attention_gives_what_it_gave(batch_first, options, tokens):
    torch.manual_seed(0)
    layer, recorder = nn.MultiheadAttention(8, 2, batch_first=batch_first).eval(), AttentionRecorder()
    expected, weights = layer(tokens, tokens, tokens, **options)
    with recorder.watching(layer), torch.enable_grad():
        found, kept = layer(tokens, tokens, tokens, **options)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert (kept is None) == (weights is None)
    if kept is not None:
        torch.testing.assert_close(kept, weights, rtol=1e-5, atol=1e-6)
    (slope,) = torch.autograd.grad(found.sum(), recorder.calls[0].probabilities)
    assert slope.abs().max() > 0


def test_other_attention_runs_as_it_is(tokens):
    layer, recorder = nn.MultiheadAttention(8, 2, batch_first=True).eval(), AttentionRecorder()
    other = tokens.flip(1)
    expected = layer(tokens, other, other)[0]
    with recorder.watching(layer):
        torch.testing.assert_close(layer(tokens, other, other)[0], expected)
        with pytest.raises(AssertionError):
            layer(tokens[:, :, :3], tokens, tokens)
    assert recorder.calls == []
    assert not layer._forward_hooks
