# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The residual networks of CIFAR's 32-pixel images: three stages, a 3×3 stem, no first pooling."""

from __future__ import annotations

from mmpretrain.models.backbones import ResNet_CIFAR
from mmpretrain.models.backbones.resnet import BasicBlock
from torch import Tensor, nn

from mmentropy.registry import MODELS

from .preact_resnet import PreActBlock, PreActResNet

#: Three stages: the settings that the host's four-stage networks take.
THREE_STAGES = dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))


@MODELS.register_module()
class CIFARResNet(ResNet_CIFAR):
    """ResNet-20, -32, -44, -56, -110 for CIFAR (He et al., CVPR 2016): 6n + 2 layers of 16, 32 and 64 channels.

    The authors' shortcuts pad with zeros where the shape changes; the host's are 1×1 convolutions.

    Args:
        depth: 20, 32, 44, 56 or 110.
        base_channels: of the first stage; 16.
        **kwargs: of mmpretrain's ``ResNet_CIFAR``.

    >>> import torch
    >>> CIFARResNet(depth=20)(torch.zeros(1, 3, 32, 32))[0].shape
    torch.Size([1, 64, 8, 8])
    """

    arch_settings = {6 * n + 2: (BasicBlock, (n, n, n)) for n in (3, 5, 7, 9, 18)}

    def __init__(self, depth: int, base_channels: int = 16, **kwargs) -> None:
        super().__init__(depth, base_channels=base_channels, stem_channels=base_channels, **{**THREE_STAGES, **kwargs})


@MODELS.register_module()
class WideResNet(PreActResNet):
    """Wide residual network of CIFAR (Zagoruyko and Komodakis, BMVC 2016): 6n + 4 layers of 16k, 32k and 64k channels.

    Pre-activation blocks without drop-out.

    Args:
        depth: 16, 22, 28 or 40.
        widen_factor: k; WRN-28-10 has 10.
        **kwargs: of mmpretrain's ``ResNet``.

    >>> import torch
    >>> WideResNet(depth=16, widen_factor=1)(torch.zeros(1, 3, 32, 32))[0].shape
    torch.Size([1, 64, 8, 8])
    """

    arch_settings = {6 * n + 4: (PreActBlock, (n, n, n)) for n in (2, 3, 4, 6)}

    def __init__(self, depth: int = 28, widen_factor: int = 10, **kwargs) -> None:
        super().__init__(depth, base_channels=16 * widen_factor, stem_channels=16, **{**THREE_STAGES, **kwargs})

    def _make_stem_layer(self, in_channels: int, stem_channels: int) -> None:
        super()._make_stem_layer(in_channels, stem_channels)
        # The blocks bring their own normalisation and ReLU, and nothing is made smaller before them.
        self.conv1 = nn.Conv2d(in_channels, stem_channels, 3, 1, 1, bias=False)
        delattr(self, self.norm1_name)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) to the maps of ``out_indices``, the last stage's normalised and rectified."""
        x, maps = self.conv1(x), []
        for i, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                maps.append(self.relu(self.final_norm(x)) if i == len(self.res_layers) - 1 else x)
        return tuple(maps)
