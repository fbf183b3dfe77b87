# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Affinities of neighbouring locations: from features (AffinityNet), from an edge map (IRN), from colour; their loss.

All of them are (P, H, W) arrays: entry (p, y, x) belongs to the pair of location (y, x) and its neighbour at
``offsets[p]``; pairs that leave the map are zero. Offsets cover half a disc, as a pair counts once.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .pixel_adaptive import shifted

IGNORE = 255


def neighbor_offsets(radius: float) -> np.ndarray:
    """Offsets (dy, dx) with 0 < length of the offset < radius, one of each opposite pair, nearest rows first.

    Args:
        radius: in locations; 5 gives AffinityNet's 34 pairs.

    Returns:
        (P, 2) int64; dy ≥ 0, and dx > 0 where dy = 0.

    >>> neighbor_offsets(2).tolist(), len(neighbor_offsets(5))
    ([[0, 1], [1, -1], [1, 0], [1, 1]], 34)
    """
    reach = int(np.ceil(radius)) - 1
    pairs = [
        (dy, dx)
        for dy in range(reach + 1)
        for dx in range(-reach, reach + 1)
        if (dy, dx) > (0, 0) and dy * dy + dx * dx < radius * radius
    ]
    if not pairs:
        raise ValueError(f'radius must be above 1 so that a location has a neighbour, got {radius}')
    return np.array(pairs, np.int64)


def inside(offsets: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(P, H, W) bool: whether the neighbour at each offset lies on the map.

    >>> inside(np.array([[0, 1]]), size=(1, 3)).tolist()
    [[[True, True, False]]]
    """
    y, x = np.mgrid[: size[0], : size[1]]
    dy, dx = offsets[:, 0, None, None], offsets[:, 1, None, None]
    return (y + dy >= 0) & (y + dy < size[0]) & (x + dx >= 0) & (x + dx < size[1])


def _pairs(maps: Tensor, offsets: np.ndarray) -> Tensor:
    """(P, …, H, W): the map at each location's neighbour; zero outside."""
    return torch.stack([shifted(maps, int(dy), int(dx), 'zero') for dy, dx in offsets])


def _on_map(offsets: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(inside(offsets, (like.shape[-2], like.shape[-1]))).to(like.device)


def feature_affinity(features: Tensor, offsets: np.ndarray) -> Tensor:
    r"""AffinityNet's :math:`a_{ij} = \exp(-\frac{1}{D} \|f_i - f_j\|_1)` (Ahn and Kwak, CVPR 2018).

    Args:
        features: (B, D, H, W).
        offsets: (P, 2), see :func:`neighbor_offsets`.

    Returns:
        (B, P, H, W) in (0, 1], zero where the pair leaves the map; differentiable.

    >>> feature_affinity(torch.tensor([[[[0.0, 1.0]]]]), np.array([[0, 1]]))  # 1/e, and off the map
    tensor([[[[0.3679, 0.0000]]]])
    """
    parts = [
        torch.exp(-(features - shifted(features, int(dy), int(dx), 'zero')).abs().mean(dim=1)) for dy, dx in offsets
    ]
    return torch.stack(parts, dim=1) * _on_map(offsets, features)


def edge_affinity(edge: Tensor, offsets: np.ndarray) -> Tensor:
    r"""IRN's :math:`a_{ij} = 1 - \max_{k \in \Pi_{ij}} e_k`, :math:`\Pi_{ij}` the straight path (Ahn, CVPR 2019).

    Args:
        edge: (B, H, W) probabilities of a class boundary.
        offsets: (P, 2).

    Returns:
        (B, P, H, W) in [0, 1], zero where the pair leaves the map.

    >>> edge_affinity(torch.tensor([[[0.0, 0.8, 0.0]]]), np.array([[0, 2]]))  # the path crosses the edge
    tensor([[[[0.2000, 0.0000, 0.0000]]]])
    """
    parts = []
    for dy, dx in offsets.tolist():
        steps = max(abs(dy), abs(dx))
        # Cells nearest to the segment, both ends included; half steps are rounded away from the start.
        path = {(int(np.rint(dy * t / steps)), int(np.rint(dx * t / steps))) for t in range(steps + 1)}
        highest = torch.stack([shifted(edge, y, x, 'zero') for y, x in sorted(path)]).amax(dim=0)
        parts.append(1 - highest)
    return torch.stack(parts, dim=1) * _on_map(offsets, edge)


def color_affinity(image: np.ndarray, offsets: np.ndarray, sigma: float = 15.0) -> np.ndarray:
    r""":math:`a_{ij} = \exp(-\|I_i - I_j\|^2 / 2\sigma^2)`, for a walk without any learned affinity.

    Args:
        image: (H, W, 3), already at the walk's resolution.
        offsets: (P, 2).
        sigma: in grey levels.

    Returns:
        (P, H, W) float32, zero where the pair leaves the map.

    >>> color_affinity(np.array([[[0, 0, 0], [0, 0, 15]]], np.uint8), np.array([[0, 1]]), sigma=15.0).round(4)
    array([[[0.6065, 0.    ]]], dtype=float32)
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float()
    distance = (pixels - _pairs(pixels, offsets)).square().sum(dim=1).numpy()
    return np.exp(-distance / (2 * sigma**2)) * inside(offsets, image.shape[:2])


def affinity_labels(labels: Tensor, offsets: np.ndarray, ignore: int = IGNORE) -> tuple[Tensor, Tensor, Tensor]:
    """Which pairs teach what: both background, both the same object class, or two different classes.

    Args:
        labels: (B, H, W) integers, 0 background, ``ignore`` for uncertain locations, whose pairs teach nothing.
        offsets: (P, 2).
        ignore: see ``labels``.

    Returns:
        Three (B, P, H, W) bool: background pairs, object pairs, negative pairs.

    >>> kinds = affinity_labels(torch.tensor([[[0, 0, 3, 3]]]), np.array([[0, 1]]))
    >>> [kind.int().flatten().tolist() for kind in kinds]  # background, object, negative
    [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]]
    """
    other = _pairs(labels, offsets).transpose(0, 1)
    here = labels[:, None]
    valid = (here != ignore) & (other != ignore) & _on_map(offsets, labels)
    same = here == other
    return valid & same & (here == 0), valid & same & (here > 0), valid & ~same


def affinity_loss(
    affinity: Tensor, background: Tensor, foreground: Tensor, negative: Tensor, eps: float = 1e-5
) -> Tensor:
    r"""AffinityNet's :math:`\frac14 L_{bg} + \frac14 L_{fg} + \frac12 L_{neg}`.

    :math:`L_{bg}` and :math:`L_{fg}` are the means of −log a over their pairs, :math:`L_{neg}` that of −log(1 − a);
    a kind without a pair adds nothing.

    Args:
        affinity: (B, P, H, W) in [0, 1].
        background, foreground, negative: bool masks of the same shape, of :func:`affinity_labels`.
        eps: added inside the logarithms.

    Returns:
        () tensor, nats.

    >>> kinds = affinity_labels(torch.tensor([[[0, 0, 3, 3]]]), np.array([[0, 1]]))
    >>> affinity_loss(torch.full((1, 1, 1, 4), 0.5), *kinds)  # log 2
    tensor(0.6931)
    """

    def mean(cost: Tensor, mask: Tensor) -> Tensor:
        return (cost * mask).sum() / mask.sum().clamp(min=1)

    positive, against = -torch.log(affinity + eps), -torch.log(1 + eps - affinity)
    return mean(positive, background) / 4 + mean(positive, foreground) / 4 + mean(against, negative) / 2
