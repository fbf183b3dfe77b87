# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the CAM paper does to a classification network: off with the fully connected layers, on with one 3×3 block."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from mmengine.logging import MMLogger
from mmengine.runner import CheckpointLoader
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn


def fitting_weights(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The entries of ``found`` that have the name and shape of an own one, and the own names that get nothing."""
    kept = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    return kept, [key for key in own if key not in kept and not key.endswith('num_batches_tracked')]


class CAMBackbone(BaseBackbone):
    """A network's convolutions, then a 3×3 convolution (stride 1, padding 1) of 1024 units and a ReLU.

    After Zhou et al., CVPR 2016. Pooling is the neck's: global average, or global maximum. The modules before the block
    keep the names of torchvision's network, so that its published ImageNet weights load as they are:
    ``init_cfg=dict(type='Pretrained', checkpoint='torchvision://vgg16')``. What agrees in name and shape is loaded; the
    log says which layers start fresh.

    Args:
        out_channels: units of the block.
        frozen: whether the layers before the block are kept as they are (also their statistics).
        init_cfg: mmengine's; ``Pretrained`` is handled here.
    """

    def __init__(self, out_channels: int = 1024, frozen: bool = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.feat_dim, self.frozen = out_channels, frozen

    def add_block(self, in_channels: int) -> None:
        """Append the 3×3 block; the last thing a subclass's ``__init__`` does."""
        self.cam_conv = nn.Sequential(nn.Conv2d(in_channels, self.feat_dim, 3, 1, 1), nn.ReLU(inplace=True))
        nn.init.kaiming_normal_(self.cam_conv[0].weight, nonlinearity='relu')
        nn.init.zeros_(self.cam_conv[0].bias)

    @abstractmethod
    def body(self, x: Tensor) -> Tensor:
        """The original network up to where it was cut."""

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """(N, 3, H, W) to a tuple of one map (N, out_channels, h, w)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = self.body(x)
        return (self.cam_conv(x),)

    def train(self, mode: bool = True) -> CAMBackbone:
        super().train(mode)
        if mode and self.frozen:
            for name, child in self.named_children():
                child.train(name == 'cam_conv')
        return self

    def init_weights(self) -> None:
        """Load the published weights where shapes agree and log which layers start fresh."""
        if not self.init_cfg or self.init_cfg.get('type') != 'Pretrained':
            super().init_weights()
            return
        source = self.init_cfg['checkpoint']
        weights = CheckpointLoader.load_checkpoint(source, map_location='cpu')
        weights = weights.get('state_dict', weights)
        prefix = self.init_cfg.get('prefix')
        if prefix:
            weights = {key.removeprefix(f'{prefix}.'): v for key, v in weights.items() if key.startswith(f'{prefix}.')}
        kept, fresh = fitting_weights(self.state_dict(), weights)
        if not kept:
            raise ValueError(
                f'{source}: no entry fits {type(self).__name__}; it takes torchvision’s weights of its original'
            )
        self.load_state_dict(kept, strict=False)
        layers = sorted({key.rsplit('.', 1)[0] for key in fresh})
        MMLogger.get_current_instance().info(
            f'{type(self).__name__}: {len(kept)} tensors from {source}; fresh: {", ".join(layers) or "none"}'
        )
