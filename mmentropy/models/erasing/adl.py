# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Attention-based dropout layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmentropy.ops.erasing.feature_erasing import adl_drop_mask, adl_importance, self_attention
from mmentropy.registry import MODELS

from .feature_eraser import FeatureEraser


@MODELS.register_module()
class ADL(FeatureEraser):
    r"""Attention-based dropout (Choe and Shim, CVPR 2019).

    With the mean A over the channels, each batch is multiplied either by the drop mask
    :math:`[A_i < \gamma \max A]`, or by the importance map :math:`\sigma(A)`.

    Args:
        layers, prob: see :class:`FeatureEraser`. ``prob=0`` is the plain model; so is ``drop_rate=0`` with
            ``importance=False``.
        drop_rate: probability of the drop mask, drawn for each batch and layer.
        drop_threshold: γ.
        importance: multiply by the importance map where the drop mask is not drawn.

    >>> features = torch.tensor([[[[1.0, 0.5]]]])
    >>> ADL(drop_rate=1.0).erase(features), ADL(drop_rate=0.0, importance=False).erase(features)
    (tensor([[[[0.0000, 0.5000]]]]), tensor([[[[1.0000, 0.5000]]]]))
    """

    def __init__(
        self,
        layers: Sequence[str] = ('layer3', 'layer4'),
        drop_rate: float = 0.75,
        drop_threshold: float = 0.9,
        importance: bool = True,
        prob: float = 1.0,
    ) -> None:
        super().__init__(layers, prob)
        for name, value in (('drop_rate', drop_rate), ('drop_threshold', drop_threshold)):
            if not 0 <= value <= 1:
                raise ValueError(f'ADL: {name} must be in [0, 1], got {value}')
        self.drop_rate, self.drop_threshold, self.importance = drop_rate, drop_threshold, importance

    def erase(self, features: Tensor) -> Tensor:
        attention = self_attention(features)
        if self.drop_rate and torch.rand(()) < self.drop_rate:
            return features * adl_drop_mask(attention, self.drop_threshold)
        return features * adl_importance(attention) if self.importance else features

    def extra_repr(self) -> str:
        return (
            f'{super().extra_repr()}, drop_rate={self.drop_rate}, drop_threshold={self.drop_threshold}, '
            f'importance={self.importance}'
        )
