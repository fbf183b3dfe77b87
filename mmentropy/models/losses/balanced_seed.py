# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The seed loss of DSRG, with foreground and background balanced, for mmseg's decode heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmentropy.registry import MODELS


def seeds_of(label: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """(B, C, H, W) float cues: of a (B, H, W) class map, or of cues that already have that shape."""
    if label.ndim == 4:
        return label.float()
    sure = label != ignore_index
    return F.one_hot(label.long().where(sure, 0), num_classes).permute(0, 3, 1, 2) * sure[:, None].float()


@MODELS.register_module()
class BalancedSeedLoss(nn.Module):
    r"""DSRG's seed loss (Huang et al., CVPR 2018), the mean over the images of

    .. math:: -\frac{1}{|S_{fg}|} \sum_{c > 0} \sum_{u \in S_c} \log p_{u,c}
              - \frac{1}{|S_{bg}|} \sum_{u \in S_0} \log p_{u,0};

    a part without a seed is zero. Locations without a seed teach nothing.

    Args:
        loss_weight: factor.
        loss_name: name in mmseg's log; must start with ``loss_`` to be part of the total.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_seed') -> None:
        super().__init__()
        self.loss_weight, self.loss_name = loss_weight, loss_name

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
        avg_factor: float | None = None,
        **kwargs: object,
    ) -> Tensor:
        """The loss, from both hosts' arguments.

        Args:
            cls_score: (B, C, H, W) logits, channel 0 the background.
            label: (B, H, W) classes with ``ignore_index`` for no seed, or (B, C, H, W) cues in {0, 1}.
            weight: (B, H, W) factors of the locations.
            ignore_index: see ``label``.
            avg_factor: divisor in place of the number of images.
        """
        seeds = seeds_of(label, cls_score.shape[1], ignore_index)
        if seeds.shape != cls_score.shape:
            raise ValueError(f'seeds {tuple(seeds.shape)} and logits {tuple(cls_score.shape)} must have one shape')
        cost = -(seeds * cls_score.float().log_softmax(dim=1))
        if weight is not None:
            cost = cost * weight[:, None]
        cost, count = cost.sum(dim=(2, 3)), seeds.sum(dim=(2, 3))
        fg = cost[:, 1:].sum(dim=1) / count[:, 1:].sum(dim=1).clamp(min=1)
        bg = cost[:, 0] / count[:, 0].clamp(min=1)
        return self.loss_weight * torch.sum(fg + bg) / (len(cost) if avg_factor is None else avg_factor)
