# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What networks give: a tensor, or a tuple, a list or a dict with one in it."""

from __future__ import annotations

from torch import Tensor


def last_tensor(output: object) -> Tensor | None:
    """The tensor of a layer's output: itself, or the last one of a tuple (a backbone's stages, deepest last).

    >>> import torch
    >>> last_tensor((torch.zeros(1), [torch.ones(2), None])).shape, last_tensor('nothing')
    (torch.Size([2]), None)
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(output, tuple | list):
        return next((given for item in reversed(output) if (given := last_tensor(item)) is not None), None)
    return None


def raw_scores(output: object, told: str = 'the model') -> Tensor:
    """Raw scores in what a network gave: (N, C) logits of a classifier, (N, C, H, W) of a segmentor.

    Args:
        output: a tensor; a tuple or list, whose last tensor is taken; a dict with ``out`` or ``logits``.
        told: what the message calls the network.

    Raises:
        ValueError: when there is no such tensor.

    >>> import torch
    >>> raw_scores({'logits': torch.zeros(2, 5), 'aux': None}).shape
    torch.Size([2, 5])
    """
    if isinstance(output, dict):  # torchvision's segmentation models, transformers' classifiers
        output = output.get('out', output.get('logits'))
    found = last_tensor(output)
    if found is None or found.ndim not in (2, 4):
        given = 'no tensor' if found is None else f'a tensor of shape {tuple(found.shape)}'
        raise ValueError(f'{told} must give (N, C) logits or (N, C, H, W) class maps, it gave {given}')
    return found
