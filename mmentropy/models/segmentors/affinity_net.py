# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""AffinityNet (Ahn and Kwak, CVPR 2018): features whose distances say whether two locations are of one class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmentropy.ops.refining.affinity import affinity_labels, affinity_loss, feature_affinity, neighbor_offsets
from mmentropy.registry import MODELS


@MODELS.register_module()
class AffinityNet(BaseModel):
    r"""A head on several layers of a classifier's backbone; :math:`a_{ij} = \exp(-\frac1D \|f_i - f_j\|_1)`.

    Trained in an mmseg run on confident masks (255 where they are not): the mean of −log a over background pairs and
    over object pairs, a quarter each, and of −log(1 − a) over pairs of two classes, a half.

    Args:
        backbone: any backbone config, scoped, with the ``out_indices`` that the head reads.
        in_channels: of these layers.
        channels: that each layer is reduced to.
        radius: of the pairs, in locations.
        frozen_backbone: train the head alone.
        ignore_index: what masks have where they are not confident; 65535 in masks of sixteen bits.
        data_preprocessor: mmseg's.
        init_cfg: see mmengine.

    >>> backbone = dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8, out_indices=(2, 3))
    >>> AffinityNet(backbone, in_channels=(32, 64), channels=16)(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 16, 4, 4])
    """

    def __init__(
        self,
        backbone: dict,
        in_channels: Sequence[int],
        channels: int = 128,
        radius: float = 5,
        frozen_backbone: bool = False,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.reduce = nn.ModuleList(nn.Conv2d(c, channels, 1, bias=False) for c in in_channels)
        self.combine = nn.Conv2d(channels * len(in_channels), channels, 1, bias=False)
        self.ignore_index = ignore_index
        self.offsets, self.frozen_backbone = neighbor_offsets(radius), frozen_backbone
        if frozen_backbone:  # DDP waits for the gradient of every parameter that asks for one
            self.backbone.requires_grad_(False)

    def features(self, inputs: Tensor) -> Tensor:
        """(B, channels, h, w) at the resolution of the backbone's finest layer that is read."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_backbone):
            layers = self.backbone(inputs)
        size = layers[0].shape[2:]
        reduced = [
            F.interpolate(F.elu(conv(x)), size=size, mode='bilinear', align_corners=False)
            for conv, x in zip(self.reduce, layers)
        ]
        return F.elu(self.combine(torch.cat(reduced, dim=1)))

    def describe(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Features of (B, 3, H, W) uint8 RGB images at ``size`` locations."""
        samples = [BaseDataElement() for _ in images]
        inputs = self.data_preprocessor({'inputs': list(images.flip(1)), 'data_samples': samples})['inputs']
        # The preprocessor may have padded right and below: resize the whole, keep the image's part.
        whole = [round(n * padded / n0) for n, padded, n0 in zip(size, inputs.shape[2:], images.shape[2:])]
        features = F.interpolate(self.features(inputs), size=whole, mode='bilinear', align_corners=False)
        return features[..., : size[0], : size[1]]

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Tensor | dict | list:
        """``tensor``: features; ``loss``: the affinity loss; ``predict``: the samples with ``affinity_features``."""
        features = self.features(inputs)
        if mode == 'tensor':
            return features
        if mode == 'predict':
            for sample, one in zip(data_samples, features):
                sample.set_field(one, 'affinity_features')
            return data_samples
        masks = torch.stack([sample.gt_sem_seg.data for sample in data_samples]).float()
        labels = F.interpolate(masks, size=features.shape[2:], mode='nearest')[:, 0].long()
        affinity = feature_affinity(features, self.offsets)
        return {'loss_affinity': affinity_loss(affinity, *affinity_labels(labels, self.offsets, self.ignore_index))}
