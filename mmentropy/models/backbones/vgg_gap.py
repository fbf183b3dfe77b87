# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

from torch import Tensor
from torchvision.models.vgg import cfgs, make_layers

from mmentropy.registry import MODELS

from .cam_backbone import CAMBackbone

#: The VGG paper's letters, as torchvision has them.
VARIANTS = {11: 'A', 13: 'B', 16: 'D', 19: 'E'}


@MODELS.register_module()
class VGGGAP(CAMBackbone):
    """VGG up to conv5 (stride 16: 14×14 at 224 pixels), then the 3×3 block; see :class:`CAMBackbone`.

    Args:
        depth: 11, 13, 16 or 19.
        batch_norm: torchvision's variant with batch normalisation.
        **kwargs: see :class:`CAMBackbone`.

    >>> import torch
    >>> VGGGAP(depth=11, out_channels=8)(torch.zeros(1, 3, 32, 32))[0].shape
    torch.Size([1, 8, 2, 2])
    """

    def __init__(self, depth: int = 16, batch_norm: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        if depth not in VARIANTS:
            raise ValueError(f'VGGGAP: depth must be 11, 13, 16 or 19, got {depth}')
        self.features = make_layers(cfgs[VARIANTS[depth]], batch_norm)[:-1]  # without the last max pooling
        self.add_block(512)

    def body(self, x: Tensor) -> Tensor:
        return self.features(x)
