# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Deep multiple-instance learning: a linear classifier on the locations that attention picks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmentropy.ops.certainty.pooling import attention_weights
from mmentropy.registry import MODELS

from .cam_head import CAMHead, Features


@MODELS.register_module()
class DeepMILHead(CAMHead):
    r"""Attention pooling and a linear classifier (Ilse et al., ICML 2018): :math:`W \sum_i a_i f_i + b`.

    The weights a are those of :func:`~mmentropy.ops.certainty.pooling.attention_weights`. They are its map: of no class
    in particular, so ``maps`` gives the same for every class that is asked for. Use it without a neck.

    Args:
        num_classes, in_channels, loss: as in ``CAMHead``.
        hidden: L, units of the attention; 128.
        gated: with the gate.

    >>> head = DeepMILHead(num_classes=3, in_channels=8)
    >>> features = torch.rand(1, 8, 7, 7)
    >>> head((features,)).shape, head.maps(features).shape, round(head.maps(features)[0, 2].sum().item(), 4)
    (torch.Size([1, 3]), torch.Size([1, 3, 7, 7]), 1.0)
    """

    def __init__(self, num_classes: int, in_channels: int, hidden: int = 128, gated: bool = False, **kwargs) -> None:
        super().__init__(num_classes=num_classes, in_channels=in_channels, **kwargs)
        if self.auxiliary_gap:
            raise ValueError('DeepMILHead pools locations itself; auxiliary_gap belongs to CAMHead')
        self.project = nn.Linear(in_channels, hidden, bias=False)
        self.gate = nn.Linear(in_channels, hidden, bias=False) if gated else None
        self.score = nn.Linear(hidden, 1, bias=False)

    def attention(self, features: Tensor) -> Tensor:
        """(B, H, W) weights of the locations of a (B, D, H, W) feature map."""
        gate = None if self.gate is None else self.gate.weight
        return attention_weights(features, self.project.weight, self.score.weight[0], gate)

    def forward(self, feats: Features) -> Tensor:
        """(B, C) logits of the last feature map."""
        features = feats[-1] if isinstance(feats, tuple | list) else feats
        if features.ndim != 4:
            raise ValueError(
                f'DeepMILHead reads a feature map (B, D, H, W), got the shape {tuple(features.shape)}; '
                'leave the neck out: the head does the pooling'
            )
        return self.fc(torch.einsum('bhw,bdhw->bd', self.attention(features).to(features.dtype), features))

    def maps(self, features: Tensor, classes: Tensor | None = None) -> Tensor:
        """The attention, once for each of the classes (C, or the (B, K) or (K,) asked for)."""
        count = self.num_classes if classes is None else classes.shape[-1]
        return self.attention(features)[:, None].expand(-1, count, -1, -1)
