# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Classes as directions: logits :math:`s \cos(f, t_c)`, and the mean direction of a class's descriptions."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def cosine_logits(features: Tensor, prototypes: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    r"""Logits :math:`z_c = s \cdot \frac{f \cdot t_c}{\|f\| \|t_c\|}`, of vectors or at every location of a map.

    Args:
        features: (B, D) or (B, D, H, W); a zero vector has zero logits.
        prototypes: (C, D), of any length.
        scale: s > 0, one over a temperature; CLIP's is about 100.

    Returns:
        (B, C) or (B, C, H, W).

    Raises:
        ValueError: when features and prototypes have different D.

    Source:
        Radford et al., "Learning transferable visual models from natural language supervision" (ICML 2021); at the
        locations, Zhou et al., "Extract free dense labels from CLIP" (ECCV 2022).

    >>> cosine_logits(torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]]), scale=10)
    tensor([[6., 8.]])
    """
    if features.ndim not in (2, 4) or prototypes.ndim != 2 or features.shape[1] != prototypes.shape[1]:
        raise ValueError(
            f'features (B, D) or (B, D, H, W) and prototypes (C, D) must share D, got {tuple(features.shape)} and '
            f'{tuple(prototypes.shape)}'
        )
    weight = scale * F.normalize(prototypes, dim=1).to(features.dtype)
    unit = F.normalize(features, dim=1)
    return unit @ weight.T if features.ndim == 2 else F.conv2d(unit, weight[:, :, None, None])


def mean_direction(embeddings: Tensor) -> Tensor:
    r"""One direction for several descriptions of a class, :math:`\bar t / \|\bar t\|`, :math:`\bar t = \sum_j t_j /
    \|t_j\|`.

    Args:
        embeddings: (..., n, D), n descriptions.

    Returns:
        (..., D) of length one.

    >>> mean_direction(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([0.7071, 0.7071])
    """
    return F.normalize(F.normalize(embeddings, dim=-1).sum(-2), dim=-1)


def pick_classes(names: Sequence[str], wanted: Sequence[str], told: str) -> list[int]:
    """Places of the wanted classes among the names that a file has.

    Args:
        names: of the file's rows.
        wanted: names, in the order that they are wanted in.
        told: the file, for the message.

    Raises:
        KeyError: for a class that the file has not.

    >>> pick_classes(['cat', 'dog'], ['dog'], 'words.npz')
    [1]
    """
    place = {name: i for i, name in enumerate(names)}
    missing = [name for name in wanted if name not in place]
    if missing:
        some = ', '.join(repr(name) for name in missing[:3])
        raise KeyError(
            f'{told}: no embedding of {len(missing)} of the {len(wanted)} classes, for example {some}; write them with '
            'tools/embed_classes.py'
        )
    return [place[name] for name in wanted]
