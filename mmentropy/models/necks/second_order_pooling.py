# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Second-order pooling of features."""

from __future__ import annotations

from torch import Tensor, nn

from mmentropy.ops.certainty.second_order import second_order_pool
from mmentropy.registry import MODELS


@MODELS.register_module()
class SecondOrderPooling(nn.Module):
    r"""Upper triangle of the square root of the covariance of the features over the locations (Li et al., CVPR 2018).

    A 1×1 convolution brings the features to ``channels`` first. The classifier behind it reads channels (channels + 1)
    / 2 numbers, no features: there are no class maps; gradient maps work.

    Args:
        in_channels: D of the backbone's last map.
        channels: d that are left; the authors take 256.
        iterations: see :func:`~mmentropy.ops.certainty.second_order.matrix_square_root`; 0 takes the covariance.

    >>> import torch
    >>> neck = SecondOrderPooling(in_channels=8, channels=4)
    >>> neck((torch.rand(2, 8, 5, 5),))[0].shape, neck.out_channels
    (torch.Size([2, 10]), 10)
    """

    def __init__(self, in_channels: int, channels: int = 256, iterations: int = 5) -> None:
        super().__init__()
        self.iterations, self.out_channels = iterations, channels * (channels + 1) // 2
        self.reduce = nn.Sequential(
            nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )

    def forward(self, inputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor]:
        """(B, D, H, W), or a backbone's tuple of maps, to a tuple of (B, d (d + 1) / 2) of the last."""
        features = inputs[-1] if isinstance(inputs, tuple) else inputs
        return (second_order_pool(self.reduce(features), self.iterations),)

    def extra_repr(self) -> str:
        return f'iterations={self.iterations}'
