# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from mmentropy.registry import MODELS

from .cam_backbone import CAMBackbone


@MODELS.register_module()
class AlexNetGAP(CAMBackbone):
    """AlexNet up to conv5 (stride 16: 13×13 at 224 pixels), then the 3×3 block; see :class:`CAMBackbone`.

    Args:
        extra_convs: 3×3 convolutions between conv5 and the block: two are the paper's AlexNet*, which make up for the
            fully connected layers.
        extra_channels: their units, which the paper does not tell.
        **kwargs: see :class:`CAMBackbone`.

    >>> import torch
    >>> AlexNetGAP(out_channels=8)(torch.zeros(1, 3, 224, 224))[0].shape
    torch.Size([1, 8, 13, 13])
    """

    def __init__(self, extra_convs: int = 0, extra_channels: int = 512, **kwargs) -> None:
        super().__init__(**kwargs)
        # torchvision's layers and names. Its own constructor would draw 58 million weights only to throw them away.
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(inplace=True)),
        )
        widths = [256] + [extra_channels] * extra_convs
        self.extra = nn.Sequential()
        for inside, outside in pairwise(widths):
            self.extra.extend([nn.Conv2d(inside, outside, 3, 1, 1), nn.ReLU(inplace=True)])
        self.add_block(widths[-1])

    def body(self, x: Tensor) -> Tensor:
        return self.extra(self.features(x))
