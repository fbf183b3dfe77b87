# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""CLIP's image tower with its patches in the joint space: the class token for logits, the patches for maps."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmentropy.registry import MODELS

#: How the patches are read.
DENSE = ('value', 'tokens')


class JointProjection(nn.Module):
    """The matrix into the joint space; its parameter is called as the host's ``CLIPProjection`` calls it.

    >>> JointProjection(4, 2)(torch.zeros(1, 5, 4)).shape
    torch.Size([1, 5, 2])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Parameter(in_channels**-0.5 * torch.randn(in_channels, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.proj


@MODELS.register_module()
class CLIPVision(BaseModule):
    r"""Class token (N, D) and map (N, D, h, w) of CLIP's image tower, both in the space of the text's embeddings.

    The class token is the host's own. The patches of the last block have mixed with each other by attention that only
    ever served the class token; ``dense='value'`` reads each by itself: the last block's attention is replaced by its
    value path, :math:`x' = x + W_o V\,\mathrm{ln}(x)`, without mixing. ``tokens`` are the block's own outputs.

    The state dict has the names of the host's ``CLIPZeroShot``, so that its checkpoints load.

    Args:
        vision: config of the host's ``VisionTransformer``.
        channels: D of the joint space.
        dense: ``value`` or ``tokens``.
        with_token: give the class token as well, before the map (:class:`~mmentropy.models.TokenPooling` takes it).
        init_cfg: as in the hosts.

    Source:
        Zhou et al., "Extract free dense labels from CLIP" (ECCV 2022).

    >>> arch = dict(embed_dims=12, num_layers=2, num_heads=3, feedforward_channels=24)
    >>> tower = CLIPVision(dict(type='VisionTransformer', arch=arch, img_size=32, patch_size=8), channels=6)
    >>> [out.shape for out in tower(torch.zeros(1, 3, 32, 48))]
    [torch.Size([1, 6]), torch.Size([1, 6, 4, 6])]
    """

    def __init__(
        self,
        vision: dict,
        channels: int,
        dense: str = 'value',
        with_token: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if dense not in DENSE:
            raise ValueError(f'CLIPVision: dense is one of {DENSE}, got {dense!r}')
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            self.visual = MODELS.build({**vision, 'out_type': 'raw', 'out_indices': -1})
        self.visual_proj = JointProjection(self.visual.embed_dims, channels)
        self.dense, self.with_token, self.feat_dim = dense, with_token, channels

    @property
    def num_extra_tokens(self) -> int:
        """Tokens before the patches."""
        return self.visual.num_extra_tokens

    @property
    def img_size(self) -> tuple[int, int]:
        """(height, width) of the images that it was built for."""
        return self.visual.img_size

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        kept: list[Tensor] = []
        last = self.visual.layers[-1]
        handle = last.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
        try:
            tokens = self.visual(x)[-1]
        finally:
            handle.remove()
        patches = tokens[:, self.num_extra_tokens :]
        if self.dense == 'value':
            patches = value_path(last, kept[-1][:, self.num_extra_tokens :])
            patches = self.visual.ln1(patches) if self.visual.final_norm else patches
        height, width = (side // patch for side, patch in zip(x.shape[2:], self.visual.patch_embed.projection.stride))
        features = self.visual_proj(patches).transpose(1, 2).unflatten(2, (height, width))
        return (self.visual_proj(tokens[:, 0]), features) if self.with_token else (features,)


def value_path(block: nn.Module, x: Tensor) -> Tensor:
    """A block of the host's transformer whose attention looks at each token alone."""
    attention = block.attn
    values = attention.qkv(block.ln1(x)).chunk(3, dim=-1)[2]
    x = x + attention.gamma1(attention.proj(values))
    return block.ffn(block.ln2(x), identity=x)
