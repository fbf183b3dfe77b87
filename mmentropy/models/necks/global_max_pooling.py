# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Global max pooling."""

from __future__ import annotations

from torch import Tensor

from mmentropy.ops.certainty.pooling import global_max_pool
from mmentropy.registry import MODELS

from .score_pooling import Pooled, ScorePooling


@MODELS.register_module()
class GlobalMaxPooling(ScorePooling):
    r"""The highest location, :math:`\max_i x_i`: of each channel (as CAM's authors compare it), or of a class's scores.

    Args:
        of, mix: see :class:`ScorePooling`.

    >>> import torch
    >>> GlobalMaxPooling()(torch.tensor([[[[1.0, 3.0]]]]))
    tensor([[3.]])
    """

    def __init__(self, of: Pooled = 'features', mix: float = 0.0) -> None:
        super().__init__(of, mix)

    def reduce(self, maps: Tensor) -> Tensor:
        return global_max_pool(maps)
