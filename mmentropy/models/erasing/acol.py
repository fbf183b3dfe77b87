# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Adversarial complementary learning."""

from __future__ import annotations

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmentropy.ops.erasing.feature_erasing import acol_mask, fuse_maps, label_map
from mmentropy.ops.mapping.class_maps import class_activation_maps
from mmentropy.registry import MODELS

from .feature_eraser import FeatureEraser, label_scores


@MODELS.register_module()
class ACoL(FeatureEraser):
    r"""Two classifiers; the second sees what the first does not look at (Zhang et al., CVPR 2018).

    The head is the first one. Where its normalised map of the label exceeds δ, the last feature map is erased, and a
    second linear classifier learns from the rest, averaged. Scores are the first one's;
    :math:`M = \max(\hat M^A, \hat M^B)` is the map. The authors put two convolutions before each classifier; here both
    read the backbone's map, so that the first one is plain CAM, weight for weight.

    Args:
        threshold: δ, in [0, 1].
        weight: of the second classifier's loss; 0 is the plain model.

    >>> head = dict(type='mmentropy.CAMHead', num_classes=3)
    >>> model = dict(type='mmentropy.LocalizationClassifier', head=head, erasing=[dict(type='mmentropy.ACoL')])
    >>> model['neck'] = dict(type='GlobalAveragePooling')
    >>> model['backbone'] = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8)
    >>> MODELS.build(model).erasing[0].adversary
    Linear(in_features=64, out_features=3, bias=True)
    """

    def __init__(self, threshold: float = 0.7, weight: float = 1.0) -> None:
        super().__init__()
        if not 0 <= threshold <= 1 or weight < 0:
            raise ValueError(f'ACoL: threshold in [0, 1] and weight >= 0, got {threshold} and {weight}')
        self.threshold, self.weight = threshold, weight

    def attach(self, backbone: nn.Module, head: nn.Module | None = None) -> None:
        if not hasattr(head, 'maps'):
            raise ValueError('ACoL erases by the class maps of its head: use head=dict(type="mmentropy.CAMHead")')
        # Drawn apart: the model's other weights are those of the plain model from the same seed.
        with torch.random.fork_rng(devices=[]):
            self.adversary = nn.Linear(head.fc.in_features, head.num_classes)
            nn.init.normal_(self.adversary.weight, std=0.01)
            nn.init.zeros_(self.adversary.bias)

    def losses(self, features: Tensor, head: nn.Module, data_samples: list[DataSample]) -> dict[str, Tensor]:
        if not self.weight:
            return {}
        with torch.no_grad():
            attention = label_map(head.maps(features), label_scores(data_samples, head.num_classes))
        erased = features * acol_mask(attention, self.threshold).to(features.dtype)
        scores = self.adversary(erased.mean((2, 3)))
        return {'loss_acol': self.weight * head._get_loss(scores, data_samples)['loss']}

    def fuse(self, maps: Tensor, features: Tensor, classes: Tensor) -> Tensor:
        if not self.weight:
            return maps
        return fuse_maps(maps, class_activation_maps(features, self.adversary.weight, classes).float())

    def extra_repr(self) -> str:
        return f'threshold={self.threshold}, weight={self.weight}'
