# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Region-based dropout with attention prior."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmentropy.ops.erasing.feature_erasing import rdap_mask, self_attention
from mmentropy.registry import MODELS

from .feature_eraser import FeatureEraser


@MODELS.register_module()
class RDAP(FeatureEraser):
    """A square of fixed size around the attention's peak is erased (Choe et al., Pattern Recognition 2021).

    Args:
        layers, prob: see :class:`FeatureEraser`.
        drop_rate: probability of the erasure, drawn for each batch and layer; 0 is the plain model.
        size: side of the square: locations (int), or a share of the map's shorter side (float).

    >>> RDAP(drop_rate=1.0, size=1).erase(torch.tensor([[[[1.0, 3.0, 2.0]]]]))
    tensor([[[[1., 0., 2.]]]])
    """

    def __init__(
        self,
        layers: Sequence[str] = ('layer3', 'layer4'),
        drop_rate: float = 0.75,
        size: int | float = 0.25,
        prob: float = 1.0,
    ) -> None:
        super().__init__(layers, prob)
        if not 0 <= drop_rate <= 1:
            raise ValueError(f'RDAP: drop_rate must be in [0, 1], got {drop_rate}')
        rdap_mask(torch.zeros(1, 1, 1, 1), size)  # says what is wrong with the size
        self.drop_rate, self.size = drop_rate, size

    def erase(self, features: Tensor) -> Tensor:
        if not self.drop_rate or torch.rand(()) >= self.drop_rate:
            return features
        return features * rdap_mask(self_attention(features), self.size)

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, drop_rate={self.drop_rate}, size={self.size}'
