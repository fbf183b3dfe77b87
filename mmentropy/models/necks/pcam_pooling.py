# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Probabilistic-CAM pooling."""

from __future__ import annotations

from torch import Tensor

from mmentropy.ops.certainty.pooling import pcam_pool
from mmentropy.registry import MODELS

from .score_pooling import ScorePooling


@MODELS.register_module()
class PCAMPooling(ScorePooling):
    r"""Each class weights locations by its own probability there.

    :math:`w_{ic} = \sigma(z_{ic}) / \sum_j \sigma(z_{jc})` and :math:`s_c = \sum_i w_{ic} z_{ic}` (Ye et al., 2020).
    Gradients pass through the weights.

    Args:
        mix: share of the plain mean, in [0, 1]; 1 is GAP.

    >>> import torch
    >>> neck, classifier = PCAMPooling(), torch.nn.Linear(1, 1)
    >>> _ = torch.nn.init.ones_(classifier.weight), torch.nn.init.zeros_(classifier.bias)
    >>> neck.tie(classifier)
    >>> neck(torch.tensor([[[[1.0, 3.0]]]]).log()).scores.detach()  # 0.4 · 0 + 0.6 · log 3
    tensor([[0.6592]])
    """

    def __init__(self, mix: float = 0.0) -> None:
        super().__init__('scores', mix)

    def reduce(self, maps: Tensor) -> Tensor:
        return pcam_pool(maps)
