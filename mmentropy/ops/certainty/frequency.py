# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Frequency pooling: the lowest frequencies of each channel in place of its mean, which is the lowest of them."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

Transform = Literal['dft', 'dct']
TRANSFORMS: tuple[str, ...] = get_args(Transform)
#: Keeps the derivative of a magnitude finite where the coefficient is zero.
EPS = 1e-12


def frequency_count(size: int, transform: Transform = 'dft') -> int:
    """How many numbers :func:`frequency_pool` gives for a channel: k² cosines, or the 2k² − 2k + 1 magnitudes that the
    symmetry of a real map leaves different.

    >>> frequency_count(2, 'dct'), frequency_count(2, 'dft'), frequency_count(1)
    (4, 5, 1)
    """
    return size * size if transform == 'dct' else 2 * size * size - 2 * size + 1


def frequency_pool(features: Tensor, size: int = 2, transform: Transform = 'dft') -> Tensor:
    r"""The lowest frequencies of each channel of a map of n = H·W locations.

    .. math:: \mathrm{dft}:\ \frac1n \Big| \sum_{y,x} f(y, x)\, e^{-2\pi i (uy/H + vx/W)} \Big|, \qquad
       \mathrm{dct}:\ \frac1n \sum_{y,x} f(y, x) \cos\tfrac{\pi u (y + ½)}{H} \cos\tfrac{\pi v (x + ½)}{W}

    The frequency (0, 0) is the mean (its magnitude), so ``size=1`` is global average pooling of non-negative features.
    Magnitudes do not change when the map is shifted round; cosines tell left from right.

    Args:
        features: (B, D, H, W).
        size: k, frequencies below k in either direction (of the DFT: v from 0, u of both signs); at least 1.
        transform: ``dft`` or ``dct``.

    Returns:
        (B, D · m), m by :func:`frequency_count`, the frequencies of a channel side by side; at least float32.

    Raises:
        ValueError: for an unknown transform, or more frequencies than the map has.

    Source:
        Ryu et al., "DFT-based transformation invariant pooling layer for visual classification" (ECCV 2018); Qin et
        al., "FcaNet: frequency channel attention networks" (ICCV 2021) for cosines.

    >>> frequency_pool(torch.tensor([[[[0.0, 2.0, 0.0, 2.0]]]]), size=1).round(decimals=4)
    tensor([[1.]])
    """
    if transform not in TRANSFORMS:
        raise ValueError(f'transform must be one of {TRANSFORMS}, got {transform!r}')
    height, width = features.shape[-2:]
    if size < 1 or (size > 1 and size > min(height, width)):
        raise ValueError(f'size={size}: a {height}×{width} map has 1 to {min(height, width)} frequencies a direction')
    x = features.to(torch.promote_types(features.dtype, torch.float32))
    if transform == 'dct':
        rows, columns = (_cosines(length, size, x) for length in (height, width))
        return torch.einsum('bdyx,yu,xv->bduv', x, rows, columns).flatten(1)
    u, v = _different_frequencies(size)
    down, across = torch.arange(height).double(), torch.arange(width).double()
    angle = 2 * math.pi * (down[:, None, None] * u / height + across[:, None] * v / width)
    real, imaginary = (torch.einsum('bdyx,yxm->bdm', x, wave(angle).to(x)) for wave in (torch.cos, torch.sin))
    power = (real.square() + imaginary.square()) / (height * width) ** 2
    return (power + EPS).sqrt().sub(math.sqrt(EPS)).flatten(1)


def _cosines(length: int, size: int, like: Tensor) -> Tensor:
    """(length, size) cosines over the locations, divided by their number."""
    places = (torch.arange(length).double() + 0.5)[:, None] * torch.arange(size) * (math.pi / length)
    return (places.cos() / length).to(like)


def _different_frequencies(size: int) -> tuple[Tensor, Tensor]:
    """(u, v) of the half plane whose magnitudes differ for a real map; (0, 0) is the first."""
    pairs = [(u, v) for v in range(size) for u in range(-size + 1, size) if v or u >= 0]
    u, v = torch.tensor(sorted(pairs, key=lambda pair: (abs(pair[0]) + pair[1], pair))).T
    return u, v
