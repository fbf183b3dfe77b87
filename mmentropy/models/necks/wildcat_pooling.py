# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""WILDCAT pooling of one map a class."""

from __future__ import annotations

from torch import Tensor

from mmentropy.ops.certainty.wildcat import positions, wildcat_pool
from mmentropy.registry import MODELS

from .score_pooling import Pooled, ScorePooling


@MODELS.register_module()
class WildcatPooling(ScorePooling):
    r"""Mean of each class's highest location scores, plus α times the mean of its lowest (Durand et al., CVPR 2017).

    One map a class, scored by the head's own classifier; ``WildcatHead`` has several maps a class and its own layer.

    Args:
        kmax: how many of the highest: a count (int) or a share (float in (0, 1]); 1.0 with α = 0 is GAP.
        kmin: the same for the lowest; 0 leaves them out.
        alpha: α.
        of, mix: see :class:`ScorePooling`.

    >>> import torch
    >>> WildcatPooling(kmax=2, kmin=1, alpha=0.5, of='features')(torch.tensor([[[[4.0, 2.0, 0.0, -2.0]]]]))
    tensor([[2.]])
    """

    def __init__(
        self, kmax: float = 0.2, kmin: float = 0.2, alpha: float = 0.7, of: Pooled = 'scores', mix: float = 0.0
    ) -> None:
        super().__init__(of, mix)
        if positions(kmax, 1, 'kmax') == 0:
            raise ValueError(f'WildcatPooling: kmax must select at least one location, got {kmax!r}')
        positions(kmin, 1, 'kmin')
        self.kmax, self.kmin, self.alpha = kmax, kmin, alpha

    @property
    def neutral(self) -> bool:
        everything = isinstance(self.kmax, float) and self.kmax == 1
        return self.mix == 1 or (everything and not (self.kmin and self.alpha))

    def reduce(self, maps: Tensor) -> Tensor:
        return wildcat_pool(maps, self.kmax, self.kmin, self.alpha)

    def extra_repr(self) -> str:
        return f'kmax={self.kmax}, kmin={self.kmin}, alpha={self.alpha}, {super().extra_repr()}'
