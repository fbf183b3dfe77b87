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
    :math:`s = \gamma / \sqrt{\sigma^2 + \epsilon}`, :math:`W' = s W` and :math:`b' = s (b - \mu) + \beta`. On a CPU
    convolutions keep their weights in the order in which oneDNN reads them. Whether the copy is the same is not trusted
    but tried, on the images that are given. It follows no change of the weights, and has no gradient.

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
        watched = _Watched(faster, images)
        names = {id(module): name for name, module in faster.named_modules()}
        for conv, norm in watched.pairs:
            _fold(conv, norm)
            _replace(faster, names[id(norm)], nn.Identity())
        faster = faster.to(memory_format=torch.channels_last)
        try:
            for conv, size in watched.sizes.items():
                if _can_be_packed(conv):
                    _replace(faster, names[id(conv)], PackedConv(conv, size))
            found = class_logits(faster, images, 'logit')
        except (AttributeError, RuntimeError, TypeError):  # the operators are torch's own business, and change with it
            return model
        same = (found - watched.logits).abs().max() <= tolerance * watched.logits.abs().max()
    return faster if same else model


class _Watched:
    """One forward pass: its logits, what convolutions read, and which batch norms read their output alone."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        self.sizes: dict[nn.Conv2d, list[int]] = {}
        self._outputs: dict[int, tuple[nn.Conv2d, Tensor]] = {}
        self._calls: dict[nn.Module, int] = {}
        self._found: list[tuple[nn.Conv2d, Any]] = []
        kinds = (nn.Conv2d, *NORMS)
        handles = [module.register_forward_hook(self._seen) for module in model.modules() if isinstance(module, kinds)]
        try:
            self.logits = class_logits(model, images, 'logit')
        finally:
            for handle in handles:
                handle.remove()
        self._outputs.clear()

    @property
    def pairs(self) -> list[tuple[nn.Conv2d, Any]]:
        """Each used once."""
        return [
            (conv, norm)
            for conv, norm in self._found
            if self._calls[conv] == self._calls[norm] == 1 and norm.track_running_stats and type(conv) is nn.Conv2d
        ]

    def _seen(self, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        self._calls[module] = self._calls.get(module, 0) + 1
        if isinstance(module, nn.Conv2d):
            self._outputs[id(output)] = module, output  # kept, so that no other tensor gets its number
            self.sizes[module] = list(inputs[0].shape)
        elif id(inputs[0]) in self._outputs:
            self._found.append((self._outputs[id(inputs[0])][0], module))


def _can_be_packed(conv: nn.Conv2d) -> bool:
    weight = conv.weight
    return (
        type(conv) is nn.Conv2d
        and weight.device.type == 'cpu'
        and weight.dtype == torch.float32
        and conv.padding_mode == 'zeros'
        and not isinstance(conv.padding, str)
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, '_convolution_pointwise')
    )


class PackedConv(nn.Module):
    """A convolution whose weights lie as oneDNN reads them: they are not put in order again in every forward pass.

    Args:
        conv: on the CPU, float32, padded by zeros.
        size: (N, C, H, W) of an input; others work as well.

    >>> conv, images = nn.Conv2d(3, 4, 3), torch.rand(2, 3, 8, 8)
    >>> with torch.no_grad():
    ...     bool(PackedConv(conv, [2, 3, 8, 8])(images).allclose(conv(images), atol=1e-6))
    True
    """

    def __init__(self, conv: nn.Conv2d, size: list[int]) -> None:
        super().__init__()
        self.geometry = list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups
        self.bias = None if conv.bias is None else conv.bias.detach()
        weight = conv.weight.detach().contiguous().to_mkldnn()
        reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # torch's stub lacks its last arguments
        self.weight = reorder(weight, *self.geometry, size)

    def forward(self, images: Tensor) -> Tensor:
        """The convolution."""
        return torch.ops.mkldnn._convolution_pointwise(images, self.weight, self.bias, *self.geometry, 'none', [], '')


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
