# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The attention probabilities of any transformer, kept while it runs, where gradients can reach them.

Attention is computed below the modules, by fused functions that never show it. So the functions are watched: a call of
``scaled_dot_product_attention``, of ``multi_head_attention_forward`` (PyTorch's ``nn.MultiheadAttention``) or of a
softmax over tokens is done in plain operations in their place, whatever module makes it: torchvision, timm, mmpretrain
and hand-written ones alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .watching import hooked

SOFTMAXES = (torch.softmax, F.softmax, Tensor.softmax)
#: Arguments of ``multi_head_attention_forward`` behind query, key and value.
MULTI_HEAD = (
    *('embed_dim_to_check', 'num_heads', 'in_proj_weight', 'in_proj_bias', 'bias_k', 'bias_v', 'add_zero_attn'),
    *('dropout_p', 'out_proj_weight', 'out_proj_bias'),
)


@dataclass(eq=False)
class Attention:
    """One call of attention.

    Attributes:
        probabilities: (N, heads, n, n), rows ask; what follows is computed from it.
        modules: dotted names of the modules that were running, outermost first.

    >>> Attention(torch.eye(2)[None, None], modules=('', 'blocks.0')).modules
    ('', 'blocks.0')
    """

    probabilities: Tensor
    modules: tuple[str, ...] = ()


@dataclass
class AttentionRecorder:
    """Keeps the attention among all tokens, (N, heads, n, n), in the order of the calls.

    Attributes:
        calls: what was seen.

    >>> layer = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    >>> recorder, tokens = AttentionRecorder(), torch.rand(1, 5, 8)
    >>> with recorder.watching(layer):
    ...     out = layer(tokens, tokens, tokens, need_weights=False)[0]
    >>> recorder.calls[0].probabilities.shape, torch.allclose(out, layer(tokens, tokens, tokens)[0], atol=1e-6)
    (torch.Size([1, 2, 5, 5]), True)
    """

    calls: list[Attention] = field(default_factory=list)
    _running: list[str] = field(default_factory=list)

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Keep what is computed inside."""
        handles = []
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(lambda m, i, name=name: self._running.append(name)))
            # Also where the forward pass fails: the next call would count from there.
            handles.append(module.register_forward_hook(self._left, always_call=True))
        fast = torch.backends.mha.get_fastpath_enabled()
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            with hooked(handles), _Functions(self):
                yield
        finally:
            self._running.clear()
            torch.backends.mha.set_fastpath_enabled(fast)

    def _left(self, module: nn.Module, inputs: tuple, output: object) -> None:
        self._running.pop()

    def keep(self, probabilities: Tensor) -> Tensor:
        """Take note of a softmax over tokens; the tensor to go on with."""
        if probabilities.ndim != 4 or probabilities.shape[-1] != probabilities.shape[-2]:
            return probabilities
        if torch.is_grad_enabled() and not probabilities.requires_grad:
            probabilities = probabilities.detach().requires_grad_(True)  # the first one: nothing before it is asked for
        self.calls.append(Attention(probabilities, tuple(self._running)))
        return probabilities


class _Functions(TorchFunctionMode):
    """Puts plain operations in the place of fused attention."""

    def __init__(self, recorder: AttentionRecorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._attended(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._multi_head(*args, **kwargs)
        out = func(*args, **kwargs)
        return self.recorder.keep(out) if func in SOFTMAXES else out

    def _attended(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """``scaled_dot_product_attention``, without its dropout: maps are those of evaluation."""
        if enable_gqa:
            groups = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
        logits = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        if is_causal:
            future = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(1)
            logits = logits.masked_fill(future, -torch.inf)
        if attn_mask is not None:
            hidden = attn_mask.dtype == torch.bool
            logits = logits.masked_fill(~attn_mask, -torch.inf) if hidden else logits + attn_mask
        return self.recorder.keep(logits.softmax(-1)) @ value

    def _multi_head(self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        """``multi_head_attention_forward`` of tokens (n, N, D) among themselves; anything else runs as it is."""
        bound = dict(zip(MULTI_HEAD, args)) | kwargs
        odd = ('bias_k', 'bias_v', 'add_zero_attn', 'key_padding_mask', 'attn_mask', 'use_separate_proj_weight')
        if query is not key or query is not value or query.ndim != 3 or any(_given(bound.get(name)) for name in odd):
            return F.multi_head_attention_forward(query, key, value, *args, **kwargs)
        length, batch, width = query.shape
        heads = bound['num_heads']
        parts = F.linear(query, bound['in_proj_weight'], bound['in_proj_bias']).chunk(3, dim=-1)
        q, k, v = (part.view(length, batch, heads, -1).permute(1, 2, 0, 3) for part in parts)
        mixed = self._attended(q, k, v).permute(2, 0, 1, 3).reshape(length, batch, width)
        out = F.linear(mixed, bound['out_proj_weight'], bound['out_proj_bias'])
        if not bound.get('need_weights', True):
            return out, None
        weights = self.recorder.calls[-1].probabilities
        return out, weights.mean(1) if bound.get('average_attn_weights', True) else weights


def _given(option: Any) -> bool:
    return isinstance(option, Tensor) or bool(option)
