# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Network in Network for ImageNet."""

from __future__ import annotations

from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn

from mmentropy.registry import MODELS


@MODELS.register_module()
class NIN(BaseBackbone):
    """Network in Network (Lin, Chen and Yan, ICLR 2014): four blocks of a convolution and two 1×1 convolutions.

    The network ends in a 1×1 convolution to the classes and global average pooling, which is a ``CAMHead`` behind
    ``GlobalAveragePooling``: this backbone stops before it. 6×6 maps at 224 pixels.

    Args:
        base_channels: of the first block; 96. The last one has 1024 (scaled alike).
        dropout: before the last block.
        init_cfg: mmengine's.

    >>> import torch
    >>> NIN(base_channels=3)(torch.zeros(1, 3, 224, 224))[0].shape
    torch.Size([1, 32, 6, 6])
    """

    def __init__(self, base_channels: int = 96, dropout: float = 0.5, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        widths = [round(base_channels * width / 96) for width in (96, 256, 384, 1024)]
        self.feat_dim = widths[-1]
        pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.features = nn.Sequential(
            *(*_block(3, widths[0], 11, 4, 0), pool),
            *(*_block(widths[0], widths[1], 5, 1, 2), pool),
            *(*_block(widths[1], widths[2], 3, 1, 1), pool, nn.Dropout(dropout)),
            *_block(widths[2], widths[3], 3, 1, 1),
        )

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """(N, 3, H, W) to a tuple of one map."""
        return (self.features(x),)


def _block(inside: int, outside: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
    """A convolution and two of 1×1, each with a ReLU."""
    shapes = [(inside, kernel, stride, padding), (outside, 1, 1, 0), (outside, 1, 1, 0)]
    return [layer for width, *how in shapes for layer in (nn.Conv2d(width, outside, *how), nn.ReLU(inplace=True))]
