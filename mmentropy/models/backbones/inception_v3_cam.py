# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""InceptionV3, cut for localisation."""

from __future__ import annotations

from mmpretrain.models.backbones import InceptionV3
from torch import Tensor

from mmentropy.registry import MODELS

from .cam_backbone import CAMBackbone

#: The layers that stay, in order; names are those of the host and of torchvision.
LAYERS = (
    'Conv2d_1a_3x3', 'Conv2d_2a_3x3', 'Conv2d_2b_3x3', 'maxpool1', 'Conv2d_3b_1x1', 'Conv2d_4a_3x3', 'maxpool2',
    'Mixed_5b', 'Mixed_5c', 'Mixed_5d', 'Mixed_6a', 'Mixed_6b', 'Mixed_6c', 'Mixed_6d', 'Mixed_6e',
)  # fmt: skip


@MODELS.register_module()
class InceptionV3CAM(CAMBackbone):
    """InceptionV3 up to ``Mixed_6e`` (12×12 at 224 pixels), then the 3×3 block; see :class:`CAMBackbone`.

    ``EnlargedBackbone(stride_one=('Mixed_6a',))`` around it gives 25×25.

    Args:
        **kwargs: see :class:`CAMBackbone`.

    >>> import torch
    >>> InceptionV3CAM(out_channels=8)(torch.zeros(1, 3, 96, 96))[0].shape
    torch.Size([1, 8, 4, 4])
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        original = InceptionV3(num_classes=1)
        for name in LAYERS:
            self.add_module(name, getattr(original, name))
        self.add_block(768)

    def body(self, x: Tensor) -> Tensor:
        for name in LAYERS:
            x = getattr(self, name)(x)
        return x
