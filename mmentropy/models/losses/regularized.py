# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Cross-entropy with an entropy regulariser, as a loss of any mmpretrain head and any mmseg decode head."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmengine.logging import MessageHub
from torch import Tensor, nn

from mmentropy.ops.certainty.entropy import binary_entropy, softmax_entropy
from mmentropy.ops.certainty.regularizers import (
    Reduction,
    confidence_divergence,
    cross_entropy,
    jeffreys_divergence,
    uniform_divergence,
)
from mmentropy.registry import MODELS


class RegularizedCrossEntropy(nn.Module):
    r"""``loss_weight`` · mean over the samples of :math:`CE(y, p) + \lambda R(p)`; the subclass names the divergence R.

    While training, the mean predictive entropy goes to the log as ``entropy`` (nats): it is what λ means.

    Args:
        loss_weight: factor of the whole.
        lambda_: λ, the regulariser's factor; 0 is the plain cross-entropy.
        class_reduction: ``mean`` or ``sum`` over the classes inside the regulariser (``sum`` is C times ``mean``).
        label_smoothing: ε of the cross-entropy, in [0, 1).
        multi_label: sigmoids and binary cross-entropy; targets are (N, C).
        loss_name: name under which mmseg logs it; must start with ``loss_`` to be part of the total.
        avg_non_ignore: the mean is over the samples (pixels) that count; False divides by all of them, the ignored ones
            too, which is the default of mmsegmentation's own cross-entropy. They differ where there are ignored pixels:
            on a mask of which a share s counts, False is s times True.

    >>> EntropyRegularizedLoss(lambda_=0.0)(torch.zeros(1, 4), torch.tensor([2]))  # cross-entropy alone: log 4
    tensor(1.3863)
    """

    divergence: Callable[..., Tensor]

    def __init__(
        self,
        loss_weight: float = 1.0,
        lambda_: float = 1e-4,
        class_reduction: Reduction = 'mean',
        label_smoothing: float = 0.0,
        multi_label: bool = False,
        loss_name: str = 'loss_er',
        avg_non_ignore: bool = True,
    ) -> None:
        super().__init__()
        if class_reduction not in ('mean', 'sum'):
            raise ValueError(f"class_reduction must be 'mean' or 'sum', got {class_reduction!r}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'label_smoothing must be in [0, 1), got {label_smoothing}')
        self.loss_weight, self.lambda_, self.class_reduction = loss_weight, lambda_, class_reduction
        self.label_smoothing, self.multi_label, self._loss_name = label_smoothing, multi_label, loss_name
        self.avg_non_ignore = avg_non_ignore

    @property
    def loss_name(self) -> str:
        return self._loss_name

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
        ignore_index: int = -100,
        logged: bool = True,
    ) -> Tensor:
        """The loss, from both hosts' arguments.

        Args:
            cls_score: (N, C) or (N, C, H, W) logits.
            label: (N,) or (N, H, W) class indices, or scores of the shape of ``cls_score`` (mixed or multi-label).
            weight: factors of the samples (or pixels).
            avg_factor: divisor in place of the number of samples (see ``avg_non_ignore``).
            reduction_override: ``none``, ``mean`` or ``sum`` in place of the mean.
            ignore_index: label that does not count, neither in the cross-entropy nor in the regulariser.
            logged: whether the mean entropy of these logits goes into the log; not that of a second, auxiliary view.
        """
        value = cross_entropy(cls_score, label, self.label_smoothing, ignore_index, self.multi_label)
        if self.lambda_:
            penalty = type(self).divergence(
                cls_score, class_reduction=self.class_reduction, multi_label=self.multi_label
            )
            value = value + self.lambda_ * penalty
        valid = label != ignore_index if label.shape == value.shape else torch.ones_like(value, dtype=torch.bool)
        if self.training and logged:
            self._log_entropy(cls_score.detach(), valid)
        value = value.masked_fill(~valid, 0)
        if weight is not None:
            value = value * weight.view(weight.shape + (1,) * (value.ndim - weight.ndim))
        if reduction_override == 'none':
            return self.loss_weight * value
        total = value.sum()
        if reduction_override != 'sum':
            count = valid.sum().clamp(min=1) if self.avg_non_ignore else valid.numel()
            total = total / (count if avg_factor is None else avg_factor)
        return self.loss_weight * total

    def _log_entropy(self, logits: Tensor, valid: Tensor) -> None:
        logits = logits.float()
        entropy = binary_entropy(logits).mean(1) if self.multi_label else softmax_entropy(logits)
        mean = (entropy * valid).sum() / valid.sum().clamp(min=1)
        MessageHub.get_current_instance().update_scalar('train/entropy', mean)

    def extra_repr(self) -> str:
        return (
            f'loss_weight={self.loss_weight}, lambda_={self.lambda_}, class_reduction={self.class_reduction!r}, '
            f'label_smoothing={self.label_smoothing}, multi_label={self.multi_label}, '
            f'avg_non_ignore={self.avg_non_ignore}'
        )


@MODELS.register_module()
class EntropyRegularizedLoss(RegularizedCrossEntropy):
    r"""Entropy regularisation for WSOL (2023): :math:`CE + \lambda KL(u\|p)`, which keeps predictions from certainty.

    It equals :math:`(1+\lambda)` times label smoothing with ε = λ/(1+λ), minus λ log C (class_reduction ``mean``).
    Arguments as in :class:`RegularizedCrossEntropy`.

    >>> logits = torch.tensor([[3.0, 1.0]]).log()  # p = (3/4, 1/4)
    >>> EntropyRegularizedLoss(lambda_=1.0)(logits, torch.tensor([0]))  # 0.2877 + 0.1438
    tensor(0.4315)
    """

    divergence = staticmethod(uniform_divergence)


@MODELS.register_module()
class ConfidencePenaltyLoss(RegularizedCrossEntropy):
    r"""Confidence penalty (Pereyra et al., 2017): :math:`CE - \lambda H(p)` = CE + λ KL(p‖u) − λ log C.

    The constant is left out, so the regulariser is never negative. Arguments as in :class:`RegularizedCrossEntropy`.

    >>> logits = torch.tensor([[3.0, 1.0]]).log()  # p = (3/4, 1/4)
    >>> ConfidencePenaltyLoss(lambda_=1.0)(logits, torch.tensor([0]))  # 0.2877 + 0.1308
    tensor(0.4185)
    """

    divergence = staticmethod(confidence_divergence)


@MODELS.register_module()
class JeffreysPenaltyLoss(RegularizedCrossEntropy):
    r"""Jeffreys' symmetric penalty: :math:`CE + \lambda (KL(u\|p) + KL(p\|u))`.

    Arguments as in :class:`RegularizedCrossEntropy`.

    >>> logits = torch.tensor([[3.0, 1.0]]).log()  # p = (3/4, 1/4)
    >>> JeffreysPenaltyLoss(lambda_=1.0)(logits, torch.tensor([0]))  # 0.2877 + 0.2747
    tensor(0.5623)
    """

    divergence = staticmethod(jeffreys_divergence)
