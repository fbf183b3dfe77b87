# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""WILDCAT's head: several maps a class, pooled by their strongest locations."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmentropy.ops.certainty.entropy import location_entropy
from mmentropy.ops.certainty.wildcat import positions, wildcat_pool
from mmentropy.ops.mapping.class_maps import class_activation_maps
from mmentropy.registry import MODELS

from .cam_head import CAMHead, Features


@MODELS.register_module()
class WildcatHead(CAMHead):
    r"""1×1 convolution to C·m maps, their mean over m, and the mean of each class map's highest locations.

    .. math:: M_c = \frac1m \sum_j (w_{cj} \cdot f + b_{cj}), \qquad s_c = \mathrm{wildcat}(M_c)

    The mean of m linear maps is linear, so only C maps are ever computed, from the mean of the weights. It reads the
    feature map itself: use it without a neck. With m = 1 and ``kmax`` = 1.0 it is global average pooling and a linear
    layer.

    Args:
        num_classes, in_channels, multi_label, threshold, loss: as in ``CAMHead``.
        maps_per_class: m.
        kmax, kmin, alpha: see :func:`~mmentropy.ops.certainty.wildcat.wildcat_pool`.

    >>> head, features = WildcatHead(num_classes=3, in_channels=8, maps_per_class=2, kmax=1), torch.rand(1, 8, 7, 7)
    >>> torch.allclose(head(features), head.class_maps(features).amax((2, 3)))  # the one highest location
    True
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        maps_per_class: int = 5,
        kmax: float = 0.09,
        kmin: float = 0,
        alpha: float = 0.0,
        **kwargs,
    ) -> None:
        if maps_per_class < 1:
            raise ValueError(f'WildcatHead: maps_per_class must be at least 1, got {maps_per_class}')
        if positions(kmax, 1, 'kmax') == 0:
            raise ValueError(f'WildcatHead: kmax must select at least one location, got {kmax!r}')
        positions(kmin, 1, 'kmin')
        super().__init__(num_classes=num_classes, in_channels=in_channels, **kwargs)
        if self.auxiliary_gap:
            raise ValueError('WildcatHead pools locations itself; auxiliary_gap belongs to CAMHead')
        self.fc = nn.Linear(in_channels, num_classes * maps_per_class)
        self.maps_per_class, self.kmax, self.kmin, self.alpha = maps_per_class, kmax, kmin, alpha

    @property
    def weight(self) -> Tensor:
        """(C, D) weights of the classes' mean maps."""
        return self.fc.weight.view(self.num_classes, self.maps_per_class, -1).mean(1)

    @property
    def bias(self) -> Tensor:
        """(C,) their biases."""
        return self.fc.bias.view(self.num_classes, self.maps_per_class).mean(1)

    @property
    def location_classifier(self) -> nn.Linear | None:
        """``fc`` where it has one map a class; else no layer holds the mean weights, and explainers find none."""
        return self.fc if self.maps_per_class == 1 else None

    def class_maps(self, features: Tensor) -> Tensor:
        """(B, C, H, W) class maps with their biases, of a (B, D, H, W) feature map."""
        return F.conv2d(features, self.weight[:, :, None, None], self.bias)

    def pool(self, maps: Tensor) -> Tensor:
        """(B, C) scores of class maps."""
        return wildcat_pool(maps, self.kmax, self.kmin, self.alpha)

    def forward(self, feats: Features) -> Tensor:
        """(B, C) scores of the last feature map."""
        features = feats[-1] if isinstance(feats, tuple | list) else feats
        if features.ndim != 4:
            raise ValueError(
                f'WildcatHead reads a feature map (B, D, H, W), got the shape {tuple(features.shape)}; '
                'leave the neck out: the head does the pooling'
            )
        return self.pool(self.class_maps(features))

    def maps(self, features: Tensor, classes: Tensor | None = None) -> Tensor:
        """Raw class maps without bias, of the classes asked for."""
        return class_activation_maps(features, self.weight, classes)

    def entropy_map(self, features: Tensor) -> Tensor:
        """Location entropy (B, H, W) in nats."""
        return location_entropy(features, self.weight, self.bias, 'sigmoid' if self.multi_label else 'softmax')
