# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Log-sum-exp pooling."""

from __future__ import annotations

from torch import Tensor

from mmentropy.ops.certainty.pooling import lse_pool
from mmentropy.registry import MODELS

from .score_pooling import Pooled, ScorePooling


@MODELS.register_module()
class LSEPooling(ScorePooling):
    r"""Log-sum-exp, :math:`\frac1r \log \frac1n \sum_i e^{r x_i}` (Pinheiro and Collobert, CVPR 2015).

    Args:
        r: sharpness, ≥ 0: 0 is GAP, infinity the maximum.
        of, mix: see :class:`ScorePooling`; the authors pool scores.

    >>> import torch
    >>> LSEPooling(r=1.0, of='features')(torch.tensor([[[[0.0, 2.0]]]]))  # log((1 + e²) / 2)
    tensor([[1.4338]])
    """

    def __init__(self, r: float = 5.0, of: Pooled = 'scores', mix: float = 0.0) -> None:
        super().__init__(of, mix)
        if not r >= 0:
            raise ValueError(f'LSEPooling: r must be at least 0, got {r}')
        self.r = r

    @property
    def neutral(self) -> bool:
        return self.mix == 1 or self.r == 0

    def reduce(self, maps: Tensor) -> Tensor:
        return lse_pool(maps, self.r)

    def extra_repr(self) -> str:
        return f'r={self.r}, {super().extra_repr()}'
