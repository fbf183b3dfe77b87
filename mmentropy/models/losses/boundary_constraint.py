# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The constrain-to-boundary loss of SEC and DSRG, for mmseg's decode heads."""

from __future__ import annotations

from torch import Tensor, nn

from mmentropy.ops.seeding.seed_losses import boundary_divergence, one_hot_cues
from mmentropy.registry import MODELS


@MODELS.register_module()
class BoundaryConstraintLoss(nn.Module):
    """SEC's constrain-to-boundary loss (Kolesnikov and Lampert, ECCV 2016): the mean over the locations of
    :func:`~mmentropy.ops.seeding.seed_losses.boundary_divergence`.

    The marginals q are those of a dense CRF on the network's own prediction p. A hard class map counts as one-hot q,
    for which this is the cross-entropy.

    Args:
        loss_weight: factor.
        loss_name: name in mmseg's log; must start with ``loss_`` to be part of the total.

    >>> import torch
    >>> BoundaryConstraintLoss()(torch.zeros(1, 4, 1, 2), torch.tensor([[[3, 255]]]))  # log 4 at one location
    tensor(1.3863)
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_boundary') -> None:
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
            cls_score: (B, C, H, W) logits.
            label: (B, C, H, W) marginals, where a location whose marginals are all zero is left out; or (B, H, W)
                classes with ``ignore_index``.
            weight: (B, H, W) factors of the locations.
            ignore_index: see ``label``.
            avg_factor: divisor in place of the number of locations that count.
        """
        q = label.float() if label.ndim == 4 else one_hot_cues(label, cls_score.shape[1], ignore_index)
        divergence = boundary_divergence(cls_score, q)
        if weight is not None:
            divergence = divergence * weight
        count = (q.sum(dim=1) > 0).sum().clamp(min=1) if avg_factor is None else avg_factor
        return self.loss_weight * divergence.sum() / count
