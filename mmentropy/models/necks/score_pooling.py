# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the poolings share that reduce each map by itself: of features, or of the classifier's location scores."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from .tied_pooling import TiedPooling

Pooled = Literal['features', 'scores']


class ClassScores(NamedTuple):
    """Logits (B, C) that a neck pooled class by class; a ``CAMHead`` passes them on instead of classifying again."""

    scores: Tensor


class ScorePooling(TiedPooling):
    r"""A pooling :math:`\rho` that reduces one map to one number.

    ``of='features'`` pools each channel, and the head classifies: :math:`W \rho(f) + b`. ``of='scores'`` lets each
    class pool its own location scores, :math:`s_c = \rho_i(z_{ic})` where :math:`z_i = W f_i + b` by the tied
    classifier, and gives them to the head as :class:`ClassScores`. (B, C, D) class-wise features are never made. Either
    way the head's linear layer is the only classifier, so state dicts are those of plain CAM and maps are read alike.

    Args:
        of: ``features`` or ``scores``.
        mix: share of the plain mean in the result, in [0, 1]; 1 is GAP bit for bit.

    >>> class Lowest(ScorePooling):
    ...     def reduce(self, maps):
    ...         return maps.amin((-2, -1))
    >>> import torch
    >>> Lowest(of='features', mix=0.5)(torch.tensor([[[[1.0, 3.0]]]]))  # half of 1, half of the mean
    tensor([[1.5000]])
    """

    def __init__(self, of: Pooled = 'scores', mix: float = 0.0) -> None:
        super().__init__()
        name = type(self).__name__
        if of not in ('features', 'scores'):
            raise ValueError(f"{name}: of must be 'features' or 'scores', got {of!r}")
        if not 0 <= mix <= 1:
            raise ValueError(f'{name}: mix is the share of the plain mean and must be in [0, 1], got {mix}')
        self.of, self.mix = of, mix

    @abstractmethod
    def reduce(self, maps: Tensor) -> Tensor:
        """(..., H, W) to (...)."""

    @property
    def neutral(self) -> bool:
        """Whether this is global average pooling; then it is computed as that."""
        return self.mix == 1

    def pool(self, features: Tensor) -> Tensor:
        """(B, D, H, W) features to (B, D), or (B, C, H, W) scores to (B, C)."""
        if self.neutral:
            return features.mean((2, 3))
        pooled = self.reduce(features).to(features.dtype)
        return (1 - self.mix) * pooled + self.mix * features.mean((2, 3)) if self.mix else pooled

    def forward(self, inputs: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...] | ClassScores:
        """Pooled features, or the scores."""
        if self.of == 'features' or self.neutral:
            return super().forward(inputs)
        features = inputs[-1] if isinstance(inputs, tuple) else inputs
        linear = self.classifier
        return ClassScores(self.pool(F.conv2d(self.scored(features), linear.weight[:, :, None, None], linear.bias)))

    def extra_repr(self) -> str:
        return f'of={self.of!r}, mix={self.mix}, {self.tie_repr()}'
