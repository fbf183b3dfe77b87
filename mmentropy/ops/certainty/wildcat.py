# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""WILDCAT pooling: a class is as present as its strongest locations, less its weakest."""

from __future__ import annotations

from torch import Tensor


def positions(k: float, locations: int, name: str = 'kmax') -> int:
    """How many locations ``k`` stands for: a count (int), or a share of them in (0, 1] (float), at least one.

    Args:
        k: an int is taken as it is, at most all locations; a float is a share, rounded to the nearest count.
        locations: how many there are.
        name: the option's name, for the message.

    Raises:
        ValueError: if ``k`` is negative, or a float above 1.

    >>> positions(3, locations=49), positions(0.09, locations=49)
    (3, 4)
    """
    if k < 0 or (isinstance(k, float) and k > 1):
        raise ValueError(f'{name} is a count of locations (int) or a share of them in [0, 1] (float), got {k!r}')
    if k == 0:
        return 0
    count = round(k * locations) if isinstance(k, float) else int(k)
    return min(max(count, 1), locations)


def wildcat_pool(scores_maps: Tensor, kmax: float = 0.09, kmin: float = 0, alpha: float = 0.0) -> Tensor:
    r"""Mean of the ``kmax`` highest locations of each map, plus α times the mean of the ``kmin`` lowest.

    .. math:: s_c = \frac{1}{k^+}\sum_{i \in \mathrm{top}_{k^+}} z_{ic}
                    + \alpha \frac{1}{k^-}\sum_{i \in \mathrm{bottom}_{k^-}} z_{ic}

    ``kmax`` = 1 location is global max pooling, all of them (1.0) global average pooling.

    Args:
        scores_maps: (..., H, W) location scores, one map a class.
        kmax: how many of the highest locations: a count (int ≥ 1) or a share in (0, 1] (float), at least one location.
        kmin: the same for the lowest; 0 leaves them out.
        alpha: factor of the lowest.

    Returns:
        (...) scores, in the type of the maps.

    Raises:
        ValueError: if ``kmax`` selects nothing, or a share lies outside [0, 1].

    Source:
        Durand et al., "WILDCAT" (CVPR 2017); kmax = 0.09 is min-max entropy localisation's.

    >>> import torch
    >>> wildcat_pool(torch.tensor([[4.0, 2.0, 0.0, -2.0]]), kmax=2, kmin=1, alpha=0.5)
    tensor(2.)
    """
    flat = scores_maps.flatten(-2)
    top = positions(kmax, flat.shape[-1], 'kmax')
    if top == 0:
        raise ValueError(f'kmax must select at least one location, got {kmax!r}')
    pooled = flat.topk(top, dim=-1, sorted=False).values.mean(-1)
    bottom = positions(kmin, flat.shape[-1], 'kmin')
    if bottom and alpha:
        pooled = pooled + alpha * flat.topk(bottom, dim=-1, largest=False, sorted=False).values.mean(-1)
    return pooled
