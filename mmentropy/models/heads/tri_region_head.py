# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A head that tells object, background and unsure apart, for frozen features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmentropy.ops.certainty.three_regions import (
    REGIONS,
    absence_loss,
    background_entropy_loss,
    region_mean,
    region_shares,
)
from mmentropy.ops.mapping.class_maps import class_activation_maps
from mmentropy.registry import MODELS

from .cam_head import CAMHead, Features

#: How the class is kept out of the background.
BACKGROUNDS = ('absent', 'uniform')
#: What ``cams`` are.
MAPS = ('object', 'cam')


@MODELS.register_module()
class TriRegionHead(CAMHead):
    r"""Three regions share every location; the classifier reads the object's mean, and the background's must not tell.

    .. math:: m_i = \mathrm{softmax}(R f_i + r),\quad z = W \frac{\sum_i m^o_i f_i}{\sum_i m^o_i} + b,\quad
        L = L_{cls}(z, y) - \mu \log(1 - p_y(f^b))

    with :math:`f^b` the background's mean read by the same classifier (without a gradient to it, so that the loss moves
    the regions). It reads the feature map itself: use it without a neck. See
    :mod:`mmentropy.ops.certainty.three_regions`.

    Args:
        num_classes, in_channels, multi_label, threshold, loss: as in ``CAMHead``.
        background_weight: μ.
        background: ``absent``, or ``uniform``: the background's prediction is pulled to equal probabilities (single
            labels only).
        hidden: channels of a hidden layer before the region scores; 0 has none.
        map: what the class maps are: ``object``, the object's share, the same for every class; or ``cam``, the
            classifier's class activation maps.

    >>> head, features = TriRegionHead(num_classes=3, in_channels=8), torch.rand(1, 8, 7, 7)
    >>> head.shares(features).sum(1).allclose(torch.ones(1, 7, 7)), head((features,)).shape
    (True, torch.Size([1, 3]))
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        background_weight: float = 1.0,
        background: str = 'absent',
        hidden: int = 0,
        map: str = 'object',
        **kwargs,
    ) -> None:
        if background_weight < 0 or hidden < 0:
            raise ValueError(
                f'TriRegionHead: background_weight and hidden are 0 or more, got {background_weight} and {hidden}'
            )
        if background not in BACKGROUNDS or map not in MAPS:
            raise ValueError(
                f'TriRegionHead: background is one of {BACKGROUNDS} and map one of {MAPS}, got {background!r} and '
                f'{map!r}'
            )
        super().__init__(num_classes=num_classes, in_channels=in_channels, **kwargs)
        if self.auxiliary_gap:
            raise ValueError('TriRegionHead pools by its own regions; auxiliary_gap belongs to CAMHead')
        if self.multi_label and background == 'uniform':
            raise ValueError("TriRegionHead: background='uniform' is for single labels; use 'absent'")
        self.background_weight, self.background, self.map = background_weight, background, map
        scores = nn.Conv2d(hidden or in_channels, len(REGIONS), 1)
        first = [nn.Conv2d(in_channels, hidden, 1), nn.ReLU(inplace=True)] if hidden else []
        self.regions = nn.Sequential(*first, scores)

    def shares(self, features: Tensor) -> Tensor:
        """(B, 3, H, W) shares of object, background and unsure, of a (B, D, H, W) feature map."""
        return region_shares(self.regions(features))

    def forward(self, feats: Features) -> Tensor:
        """(B, C) logits of the object's mean."""
        features = self._feature_map(feats)
        return self.fc(region_mean(features, self.shares(features)[:, 0]))

    def loss(self, feats: Features, data_samples: list[DataSample], **kwargs) -> dict:
        """The classifier's loss, and ``loss_background``."""
        features = self._feature_map(feats)
        shares = self.shares(features)
        losses = self._get_loss(self.fc(region_mean(features, shares[:, 0])), data_samples, **kwargs)
        weight, bias = self.fc.weight.detach(), self.fc.bias.detach()
        seen = F.linear(region_mean(features, shares[:, 1]), weight, bias)
        if self.background == 'uniform':
            kept_out = background_entropy_loss(seen)
        else:
            kept_out = absence_loss(seen, self._labels(data_samples))
        losses['loss_background'] = self.background_weight * kept_out.mean()
        return losses

    def maps(self, features: Tensor, classes: Tensor | None = None) -> Tensor:
        """Maps of the classes asked for: the object's share for each, or class activation maps."""
        if self.map == 'cam':
            return class_activation_maps(features, self.fc.weight, classes)
        count = self.num_classes if classes is None else classes.shape[-1]
        return self.shares(features)[:, :1].expand(-1, count, -1, -1)

    def _feature_map(self, feats: Features) -> Tensor:
        features = feats[-1] if isinstance(feats, tuple | list) else feats
        if features.ndim != 4:
            raise ValueError(
                f'TriRegionHead reads a feature map (B, D, H, W), got the shape {tuple(features.shape)}; '
                'leave the neck out: the head does the pooling'
            )
        return features

    def _labels(self, data_samples: list[DataSample]) -> Tensor:
        """(B,) labels, or (B, C) multi-hot ones."""
        if self.multi_label:
            return torch.stack([sample.gt_score for sample in data_samples])
        return torch.cat([sample.gt_label for sample in data_samples])
