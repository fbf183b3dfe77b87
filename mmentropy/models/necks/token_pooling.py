# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The class token as the pooled feature."""

from __future__ import annotations

from torch import Tensor, nn

from mmentropy.registry import MODELS


@MODELS.register_module()
class TokenPooling(nn.Module):
    """Hands on the vector (N, D) that a backbone gives before its map, such as the class token of ``CLIPVision``.

    >>> import torch
    >>> TokenPooling()((torch.ones(1, 6), torch.zeros(1, 6, 4, 4)))[0].shape
    torch.Size([1, 6])
    """

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        """(N, D), as a tuple."""
        vectors = [x for x in inputs if x.ndim == 2] if isinstance(inputs, tuple | list) else []
        if not vectors:
            raise ValueError(
                'TokenPooling: the backbone gives no class token before its map; use CLIPVision(with_token=True), or '
                'a pooling of the map'
            )
        return (vectors[-1],)
