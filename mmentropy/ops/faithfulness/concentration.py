# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""How few pixels a map speaks of: figures of the map alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def _magnitudes(maps: Tensor) -> Tensor:
    """(N, H·W) absolute values."""
    if maps.ndim != 3 or not torch.isfinite(maps).all():
        fault = f'got {tuple(maps.shape)}' if maps.ndim != 3 else 'they hold NaN or infinite values'
        raise ValueError(f'maps must be (N, H, W) of finite values: {fault}')
    values = maps.detach().flatten(1).abs()
    return values if values.dtype == torch.float64 else values.float()


def sparseness(maps: Tensor) -> Tensor:
    r"""Gini index of the absolute values: 0 for a constant map, near 1 where one pixel has all.

    .. math:: \frac{\sum_i (2 i - n - 1)\, a_{(i)}}{n \sum_i a_i}, \qquad a_{(1)} \le \dots \le a_{(n)}

    Args:
        maps: (N, H, W).

    Returns:
        (N,) in [0, 1); 0 for a map of zeros.

    Source: Chalasani et al., "Concise explanations of neural networks using adversarial training" (ICML 2020).

    >>> sparseness(torch.tensor([[[0.0, 0.0, 0.0, 2.0]], [[1.0, 1.0, 1.0, 1.0]]]))
    tensor([0.7500, 0.0000])
    """
    ordered = _sorted(_magnitudes(maps)).double()
    count = ordered.shape[1]
    place = 2 * torch.arange(1, count + 1, device=maps.device, dtype=torch.float64) - count - 1
    total = ordered.sum(1)
    return ((ordered @ place) / (count * torch.where(total > 0, total, 1))).float()


def _sorted(values: Tensor) -> Tensor:
    """Each row in order. On the CPU by numpy, whose sort keeps no places and is several times as fast."""
    if values.device.type != 'cpu':
        return values.sort(1).values
    return torch.from_numpy(np.sort(values.numpy(), axis=1))


def complexity(maps: Tensor) -> Tensor:
    r"""Entropy of the map as a distribution over the pixels, :math:`-\sum_i q_i \log q_i`, :math:`q = |m| / \sum |m|`.

    Args:
        maps: (N, H, W).

    Returns:
        (N,) in nats: 0 where one pixel has all, log(H·W) for a constant map, and for one of zeros.

    Source: Bhatt et al., "Evaluating and aggregating feature-based model explanations" (IJCAI 2020).

    >>> complexity(torch.tensor([[[1.0, 1.0]], [[0.0, 3.0]]]))
    tensor([0.6931, 0.0000])
    """
    values = _magnitudes(maps).double()
    values = torch.where(values.sum(1, keepdim=True) > 0, values, 1.0)
    return torch.special.entr(values / values.sum(1, keepdim=True)).sum(1).float()
