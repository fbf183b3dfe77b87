# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

from torch import Tensor
from torchvision.models import googlenet

from mmentropy.registry import MODELS

from .cam_backbone import CAMBackbone

LAYERS = (
    *('conv1', 'maxpool1', 'conv2', 'conv3', 'maxpool2', 'inception3a', 'inception3b', 'maxpool3'),
    *('inception4a', 'inception4b', 'inception4c', 'inception4d', 'inception4e'),
)


@MODELS.register_module()
class GoogLeNetGAP(CAMBackbone):
    """GoogLeNet up to inception 4e (stride 16: 14×14 at 224 pixels), then the 3×3 block; see :class:`CAMBackbone`.

    torchvision's published weights expect inputs in −1 … 1: mean and std 127.5.

    >>> import torch
    >>> GoogLeNetGAP(out_channels=8)(torch.zeros(1, 3, 64, 64))[0].shape
    torch.Size([1, 8, 4, 4])
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        original = googlenet(weights=None, aux_logits=False, init_weights=False)
        for name in LAYERS:
            self.add_module(name, getattr(original, name))
        self.add_block(832)

    def body(self, x: Tensor) -> Tensor:
        for name in LAYERS:
            x = getattr(self, name)(x)
        return x
