# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Class activation maps from a feature map and a linear classifier's weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def class_activation_maps(features: Tensor, weight: Tensor, classes: Tensor | None = None) -> Tensor:
    r"""Class activation maps, :math:`M_c(x, y) = \sum_k w_k^c f_k(x, y)`; no bias, no ReLU (Zhou et al., CVPR 2016).

    Only the maps asked for are computed.

    Args:
        features: (B, D, H, W) last feature map.
        weight: (C, D) weights of the classifier.
        classes: (K,) the same classes for every image, (B, K) each image's own, or None for all C.

    Returns:
        (B, K, H, W) raw maps in the type of ``features``.

    Raises:
        ValueError: if ``classes`` has another shape.
        IndexError: for a class that the classifier does not have.

    >>> features = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])  # two channels, two locations
    >>> class_activation_maps(features, weight=torch.tensor([[1.0, 3.0]]))
    tensor([[[[1., 6.]]]])
    """
    if classes is None or classes.ndim == 1:
        return F.conv2d(features, (weight if classes is None else weight[classes])[:, :, None, None].to(features.dtype))
    if classes.ndim != 2 or len(classes) != len(features):
        raise ValueError(f'classes must be (K,) or ({len(features)}, K) for this batch, got {tuple(classes.shape)}')
    maps = torch.bmm(weight[classes].to(features.dtype), features.flatten(2))
    return maps.view(*classes.shape, *features.shape[2:])
