# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Attention learned on a backbone's last map."""

from __future__ import annotations

import torch.nn.functional as F
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmentropy.explain.watching import last_tensor, with_last_tensor
from mmentropy.registry import MODELS

from .map_backbone import last_channels


class ResidualAttention(nn.Module):
    r"""Residual attention, :math:`H(x) = (1 + M(x)) \odot x` (Wang et al., CVPR 2017).

    M in (0, 1) has the shape of x: down (3×3 maximum, stride 2), a 3×3 convolution to D/r units, up (bilinear), a 1×1
    convolution back to D, a sigmoid. Here on one map; the authors' network has such modules between its stages.

    Args:
        channels: D.
        reduction: r.

    >>> import torch
    >>> ResidualAttention(8, reduction=2).eval()(torch.ones(1, 8, 7, 7)).unique()  # M starts at 1/2
    tensor([1.5000], grad_fn=<Unique2Backward0>)
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.conv = nn.Conv2d(channels, inner, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(inner)
        self.expand = nn.Conv2d(inner, channels, 1)
        nn.init.zeros_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D, h, w) to the same shape."""
        inner = self.norm(self.conv(F.max_pool2d(x, 3, 2, 1))).relu()
        inner = F.interpolate(inner, x.shape[-2:], mode='bilinear', align_corners=False)
        return (1 + self.expand(inner).sigmoid()) * x


@MODELS.register_module()
def ResidualAttentionBackbone(backbone: dict, reduction: int = 16) -> nn.Module:
    """Build a backbone with a :class:`ResidualAttention` on its last map.

    The result *is* the backbone, with one more child: names, state dict and pretrained weights are its own.

    Args:
        backbone: its config; a bare type is mmpretrain's.
        reduction: r.
    """
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(backbone)
    model.residual_attention = ResidualAttention(last_channels(model), reduction)
    model.register_forward_hook(_attend)
    return model


def _attend(module: nn.Module, inputs: tuple, output: object) -> object:
    """The backbone's output with its last map attended to."""
    return with_last_tensor(output, module.residual_attention(last_tensor(output)))
