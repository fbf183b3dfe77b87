# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The linear classifier that is also a 1×1 convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmentropy.models.losses.regularized import RegularizedCrossEntropy
from mmentropy.models.necks.score_pooling import ClassScores
from mmentropy.ops.certainty.entropy import binary_entropy, location_entropy, softmax_entropy
from mmentropy.ops.mapping.class_maps import class_activation_maps
from mmentropy.registry import MODELS
from mmentropy.structures import ENTROPY

Features = Tensor | tuple[Tensor, ...]


@MODELS.register_module()
class CAMHead(LinearClsHead):
    """One linear layer (``fc``), used on pooled features for logits and as a 1×1 convolution on feature maps for maps.

    Its state dict is that of mmpretrain's ``LinearClsHead``.

    Args:
        num_classes: C.
        in_channels: D. Inside a ``LocalizationClassifier`` both may be left out.
        multi_label: sigmoids and binary cross-entropy on ``gt_score``; predictions above ``threshold``.
        auxiliary_gap: share of the loss that is taken on plain GAP features while the rest is on the neck's, so that
            the classifier learns both readings; 0 is off.
        threshold: a multi-label prediction holds the classes with at least this score.
        loss: any mmpretrain loss; the host's cross-entropy by default.

    >>> head, features = CAMHead(num_classes=3, in_channels=8), torch.rand(1, 8, 7, 7)
    >>> maps, logits = head.maps(features), head((features.mean((2, 3)),))
    >>> torch.allclose(maps.mean((2, 3)) + head.fc.bias, logits, atol=1e-5)
    True
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        multi_label: bool = False,
        auxiliary_gap: float = 0.0,
        threshold: float = 0.5,
        loss: dict | None = None,
        **kwargs,
    ) -> None:
        if not 0 <= auxiliary_gap <= 1:
            raise ValueError(f'CAMHead: auxiliary_gap is a share of the loss, in [0, 1]; got {auxiliary_gap}')
        if loss is None:
            loss = dict(type='mmpretrain.CrossEntropyLoss', use_sigmoid=multi_label)
        if multi_label and kwargs.get('cal_acc'):
            raise ValueError('CAMHead: cal_acc counts single labels; leave it out with multi_label=True')
        super().__init__(num_classes=num_classes, in_channels=in_channels, loss=loss, **kwargs)
        self.multi_label, self.auxiliary_gap, self.threshold = multi_label, auxiliary_gap, threshold

    @property
    def location_classifier(self) -> nn.Linear | None:
        """The linear layer that scores each location of the last map, whatever pools them; explainers read it."""
        return self.fc

    def forward(self, feats: Features | ClassScores) -> Tensor:
        """(B, C) logits: of pooled features, or those that a neck has pooled class by class."""
        return feats.scores if isinstance(feats, ClassScores) else super().forward(feats)

    def loss(
        self, feats: Features, data_samples: list[DataSample], feature_map: Tensor | None = None, **kwargs
    ) -> dict:
        """Losses on the pooled features, and a share of them on the averaged ``feature_map`` with ``auxiliary_gap``."""
        losses = super().loss(feats, data_samples, **kwargs)
        if self.auxiliary_gap and feature_map is not None:
            # The entropy of the log is that of the predictions, which the neck's features give.
            quiet = dict(logged=False) if isinstance(self.loss_module, RegularizedCrossEntropy) else {}
            gap = super().loss((feature_map.mean((2, 3)),), data_samples, **kwargs, **quiet)
            losses['loss'] = (1 - self.auxiliary_gap) * losses['loss'] + self.auxiliary_gap * gap['loss']
        return losses

    def maps(self, features: Tensor, classes: Tensor | None = None) -> Tensor:
        """Raw class activation maps of the classes asked for.

        See :func:`~mmentropy.ops.mapping.class_maps.class_activation_maps`.
        """
        return class_activation_maps(features, self.fc.weight, classes)

    def entropy_map(self, features: Tensor) -> Tensor:
        """Location entropy (B, H, W) in nats under the head's own reading: softmax, or mean of sigmoids."""
        score = 'sigmoid' if self.multi_label else 'softmax'
        return location_entropy(features, self.fc.weight, self.fc.bias, score)

    def _get_loss(self, cls_score: Tensor, data_samples: list[DataSample], **kwargs) -> dict:
        if self.multi_label and 'gt_score' not in data_samples[0]:
            for sample in data_samples:
                sample.set_gt_score(F.one_hot(sample.gt_label, self.num_classes).sum(0).clamp(max=1).float())
        return super()._get_loss(cls_score, data_samples, **kwargs)

    def _get_predictions(self, cls_score: Tensor, data_samples: list[DataSample] | None) -> list[DataSample]:
        cls_score = cls_score.float()
        samples = super()._get_predictions(cls_score, data_samples)
        entropy = binary_entropy(cls_score).mean(1) if self.multi_label else softmax_entropy(cls_score)
        for sample, logits, value in zip(samples, cls_score, entropy):
            if self.multi_label:
                score = logits.sigmoid()
                sample.set_pred_score(score).set_pred_label(torch.where(score >= self.threshold)[0])
            sample.set_field(value, ENTROPY)
        return samples
