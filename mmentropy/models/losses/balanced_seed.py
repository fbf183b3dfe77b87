# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The seed loss of DSRG, with foreground and background balanced, for mmseg's decode heads."""

from __future__ import annotations

from torch import Tensor, nn

from mmentropy.ops.seeding.seed_losses import balanced_seed_cost, one_hot_cues
from mmentropy.registry import MODELS


@MODELS.register_module()
class BalancedSeedLoss(nn.Module):
    """DSRG's seed loss (Huang et al., CVPR 2018): the mean over the images of
    :func:`~mmentropy.ops.seeding.seed_losses.balanced_seed_cost`.

    Args:
        loss_weight: factor.
        loss_name: name in mmseg's log; must start with ``loss_`` to be part of the total.

    >>> import torch
    >>> BalancedSeedLoss()(torch.zeros(1, 4, 2, 2), torch.tensor([[[0, 0], [3, 255]]]))  # twice log 4
    tensor(2.7726)
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
        cues = label.float() if label.ndim == 4 else one_hot_cues(label, cls_score.shape[1], ignore_index)
        cost = balanced_seed_cost(cls_score, cues, weight)
        return self.loss_weight * cost.sum() / (len(cost) if avg_factor is None else avg_factor)
