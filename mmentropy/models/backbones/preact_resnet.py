# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""ResNet with full pre-activation."""

from __future__ import annotations

from mmcv.cnn import build_norm_layer
from mmpretrain.models.backbones import ResNet
from torch import Tensor, nn

from mmentropy.registry import MODELS


class PreActBlock(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x)))))); a projection of relu(norm(x)) where the shape changes.

    >>> import torch
    >>> block = PreActBlock(4, 8, stride=2, dilation=1, norm_cfg=dict(type='BN'))
    >>> block(torch.zeros(1, 4, 16, 16)).shape
    torch.Size([1, 8, 8, 8])
    """

    expansion = 1

    def __init__(self, in_channels: int, out_channels: int, stride: int, dilation: int, norm_cfg: dict) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.norm1 = build_norm_layer(norm_cfg, in_channels)[1]
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, dilation, dilation, bias=False)
        self.norm2 = build_norm_layer(norm_cfg, out_channels)[1]
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, dilation, dilation, bias=False)
        self.relu = nn.ReLU(inplace=True)
        same = stride == 1 and in_channels == out_channels
        self.shortcut = None if same else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.norm1(x))
        if self.shortcut is not None:
            x = self.shortcut(out)
        return x + self.conv2(self.relu(self.norm2(self.conv1(out))))


@MODELS.register_module()
class PreActResNet(ResNet):
    """The host's ResNet with pre-activation blocks (He et al., ECCV 2016): PreResNet-18 and -34.

    The last map passes a normalisation and a ReLU, as the authors end it. ``strides=(1, 2, 2, 1)`` enlarges it.

    Args:
        depth: 18 or 34.
        **kwargs: of mmpretrain's ``ResNet``, but those that change its blocks.

    >>> import torch
    >>> backbone = PreActResNet(depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 2, 1))
    >>> backbone(torch.zeros(1, 3, 64, 64))[0].shape
    torch.Size([1, 64, 4, 4])
    """

    arch_settings = {18: (PreActBlock, (2, 2, 2, 2)), 34: (PreActBlock, (3, 4, 6, 3))}

    def __init__(self, depth: int, **kwargs) -> None:
        super().__init__(depth, **kwargs)
        self.final_norm = build_norm_layer(self.norm_cfg, self.feat_dim)[1]

    def make_res_layer(
        self, num_blocks: int, in_channels: int, out_channels: int, stride: int, dilation: int, norm_cfg: dict, **kwargs
    ) -> nn.Sequential:
        widths = [in_channels] + [out_channels] * num_blocks
        strides = [stride] + [1] * (num_blocks - 1)
        blocks = [PreActBlock(*shape, dilation, norm_cfg) for shape in zip(widths, widths[1:], strides)]
        return nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) to the maps of ``out_indices``, the last stage's normalised and rectified."""
        *maps, last = super().forward(x)
        if len(self.res_layers) - 1 in self.out_indices:
            last = self.relu(self.final_norm(last))
        return (*maps, last)
