# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the pooling necks share: they read the classifier's linear layer, and take a tensor or a backbone's tuple."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor, nn


class TiedPooling(nn.Module, ABC):
    """A pooling neck that may be tied to the linear layer of the head behind it.

    The tied layer is held by reference, not as a sub-module: its parameters stay the head's alone in state dicts,
    optimizers and parameter counts, and a deep copy of the whole model keeps the tie inside the copy.

    >>> class Mean(TiedPooling):
    ...     def pool(self, features):
    ...         return features.mean((2, 3))
    >>> neck, linear = Mean(), nn.Linear(8, 3)
    >>> neck.tie(linear)
    >>> neck.classifier is linear, list(neck.state_dict())
    (True, [])
    """

    def __init__(self) -> None:
        super().__init__()
        self.scorer: nn.Linear | None = None
        self._tied: tuple[nn.Linear, ...] = ()

    def tie(self, linear: nn.Linear) -> None:
        """Read the location logits from ``linear``, the head's classifier."""
        self._tied = (linear,)

    @property
    def classifier(self) -> nn.Linear:
        """The linear layer (W, b) that scores locations: the neck's own, else the tied one."""
        if self.scorer is not None:
            return self.scorer
        if not self._tied:
            name = type(self).__name__
            raise ValueError(
                f'{name} has no classifier to read: use it inside mmentropy.LocalizationClassifier with '
                f'head=dict(type="mmentropy.CAMHead"), call neck.tie(head.fc), or give num_classes and in_channels'
            )
        return self._tied[0]

    def scored(self, features: Tensor) -> Tensor:
        """The features (B, D, H, W) as the classifier's weights read them: of length one for a cosine classifier."""
        if getattr(self.classifier, 'normalizes_features', False):
            return F.normalize(features, dim=1)
        return features

    @abstractmethod
    def pool(self, features: Tensor) -> Tensor:
        """(B, D, H, W) to (B, D)."""

    def forward(self, inputs: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        if isinstance(inputs, tuple):
            return (*(x.mean((2, 3)) for x in inputs[:-1]), self.pool(inputs[-1]))
        return self.pool(inputs)

    def tie_repr(self) -> str:
        return 'own scorer' if self.scorer is not None else 'tied' if self._tied else 'not tied yet'
