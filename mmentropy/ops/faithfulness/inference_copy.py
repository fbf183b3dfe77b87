# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A faster copy of a network for thousands of forward passes: batch norms folded away, channels last."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from .scoring import Model, class_logits

NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


def inference_copy(model: Model, images: Tensor, tolerance: float = 1e-5) -> Model:
    r"""A copy that gives the same logits by less work, or the model itself where there is none.

    Each batch norm that reads a convolution's output, and nothing else, is folded into it: with
    :math:`s = \gamma / \sqrt{\sigma^2 + \epsilon}`, :math:`W' = s W` and :math:`b' = s (b - \mu) + \beta`. Whether the
    copy is the same is not trusted but tried, on the images that are given. It follows no change of the weights.

    Args:
        model: a network in evaluation mode; what is no ``nn.Module`` is given back.
        images: (N, 3, H, W) some of its inputs.
        tolerance: the largest difference of logits, relative to the largest logit.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> faster = inference_copy(model, torch.rand(2, 3, 8, 8))
    >>> type(faster[1]).__name__, type(model[1]).__name__
    ('Identity', 'BatchNorm2d')
    """
    if not isinstance(model, nn.Module) or any(module.training for module in model.modules()):
        return model
    try:
        faster = copy.deepcopy(model)
    except Exception:  # a model that cannot be copied is asked itself: nothing is lost but time
        return model
    with torch.no_grad():
        wanted = class_logits(model, images, 'logit')
        names = {id(module): name for name, module in faster.named_modules()}
        for conv, norm in _pairs(faster, images):
            _fold(conv, norm)
            _replace(faster, names[id(norm)], nn.Identity())
        faster = faster.to(memory_format=torch.channels_last)
        same = (class_logits(faster, images, 'logit') - wanted).abs().max() <= tolerance * wanted.abs().max()
    return faster if same else model


def _pairs(model: nn.Module, images: Tensor) -> list[tuple[nn.Conv2d, nn.Module]]:
    """Convolutions and the batch norms that read their output; each of them used once in a forward pass."""
    outputs: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    calls: dict[int, int] = {}
    found: list[tuple[nn.Conv2d, nn.Module]] = []

    def seen(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        calls[id(module)] = calls.get(id(module), 0) + 1
        if isinstance(module, nn.Conv2d):
            outputs[id(output)] = module, output  # kept, so that no other tensor gets its number
        elif id(inputs[0]) in outputs:
            found.append((outputs[id(inputs[0])][0], module))

    handles = [
        module.register_forward_hook(seen) for module in model.modules() if isinstance(module, (nn.Conv2d, *NORMS))
    ]
    try:
        class_logits(model, images, 'logit')
    finally:
        for handle in handles:
            handle.remove()
    return [
        (conv, norm)
        for conv, norm in found
        if calls[id(conv)] == calls[id(norm)] == 1 and norm.track_running_stats and type(conv) is nn.Conv2d
    ]


def _fold(conv: nn.Conv2d, norm: Any) -> None:
    """The batch norm's scale and shift into the convolution's weights."""
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = 0 if norm.bias is None else norm.bias
    bias = 0 if conv.bias is None else conv.bias
    conv.weight = nn.Parameter(conv.weight * scale[:, None, None, None])
    conv.bias = nn.Parameter((bias - norm.running_mean) * scale + shift)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition('.')
    setattr(model.get_submodule(parent), own, module)
