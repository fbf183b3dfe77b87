# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A host's backbone with a larger last map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmentropy.models.erasing.feature_eraser import find_layers
from mmentropy.registry import MODELS


@MODELS.register_module()
def EnlargedBackbone(backbone: dict, stride_one: Sequence[str] = (), drop: Sequence[str] = ()) -> nn.Module:
    """Build a backbone and take the stride out of some of its layers: higher mapping resolution localises better.

    The result *is* the backbone, not a wrapper: names, state dict and pretrained weights are its own.

    Args:
        backbone: its config; a bare type is mmpretrain's.
        stride_one: names of layers (as ``named_modules()`` tells them) in which every strided convolution and pooling
            gets stride 1 and a padding that keeps the size. Location j then looks at cell j of what came before: an odd
            kernel is centred on it. An even one lies between two cells; it is taken half a cell before and half a
            cell behind, and the two are averaged (in both directions), so that the map is not drawn half a cell off.
        drop: names of layers that are replaced by the identity: poolings without weights.

    Raises:
        ValueError: for a layer that is not there, has no stride, or has weights that would be dropped.
    """
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(backbone)
    for name, layer in find_layers(model, stride_one, 'EnlargedBackbone').items():
        if not sum(_unstride(module) for module in layer.modules()):
            raise ValueError(f'EnlargedBackbone: nothing in {name!r} of {type(model).__name__} has a stride')
    for name, layer in find_layers(model, drop, 'EnlargedBackbone').items():
        if next(layer.parameters(), None) is not None:
            raise ValueError(f'EnlargedBackbone: {name!r} of {type(model).__name__} has weights; only poolings go')
        parent, _, child = name.rpartition('.')
        setattr(model.get_submodule(parent), child, nn.Identity())
    return model


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _unstride(module: nn.Module) -> bool:
    """Give a strided convolution or pooling stride 1; whether there was one."""
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) or max(_pair(module.stride)) == 1:
        return False
    if isinstance(module, nn.Conv2d) and type(module).forward is not nn.Conv2d.forward:
        module.stride = (1, 1)  # TensorFlow's "same" convolutions pad by themselves, by their stride
        return True
    dilation = _pair(getattr(module, 'dilation', 1))
    reach = [d * (side - 1) for d, side in zip(dilation, _pair(module.kernel_size))]
    padding = tuple((r + 1) // 2 for r in reach)
    if isinstance(module, nn.Conv2d):
        # Built anew: convolutions work out the padding of other modes than zeros when they are made.
        fresh = nn.Conv2d(
            module.in_channels, module.out_channels, module.kernel_size, 1, padding, dilation, module.groups,
            module.bias is not None, module.padding_mode, device='meta',
        )  # fmt: skip
        for name in ('stride', 'padding', '_reversed_padding_repeated_twice'):
            setattr(module, name, getattr(fresh, name))
    else:
        module.stride, module.padding, module.ceil_mode = 1, padding, False
    if any(r % 2 for r in reach):
        module.register_forward_hook(partial(_centre, window=tuple(1 + r % 2 for r in reach)))
    return True


def _centre(module: nn.Module, inputs: tuple, output: Tensor, window: tuple[int, int]) -> Tensor:
    """Means of neighbours: between two of the locations of an even kernel lies the cell that the result stands for."""
    return F.avg_pool2d(output, window, stride=1)
