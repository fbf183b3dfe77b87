# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Frequency pooling of features."""

from __future__ import annotations

from torch import Tensor, nn

from mmentropy.ops.certainty.frequency import TRANSFORMS, Transform, frequency_count, frequency_pool
from mmentropy.registry import MODELS


@MODELS.register_module()
class FrequencyPooling(nn.Module):
    r"""The lowest frequencies of each channel: magnitudes of its Fourier transform, or cosine coefficients.

    See :func:`~mmentropy.ops.certainty.frequency.frequency_pool` (after Ryu et al., ECCV 2018). The classifier behind
    it reads D·m numbers, so there are no class maps; gradient maps work.

    Args:
        in_channels: D of the backbone's last map.
        size: k, frequencies a direction; 1 is global average pooling.
        transform: ``dft`` or ``dct``.

    >>> import torch
    >>> neck = FrequencyPooling(in_channels=8, size=2)
    >>> neck((torch.rand(2, 8, 5, 5),))[0].shape, neck.out_channels
    (torch.Size([2, 40]), 40)
    """

    def __init__(self, in_channels: int, size: int = 2, transform: Transform = 'dft') -> None:
        super().__init__()
        if transform not in TRANSFORMS or size < 1:
            raise ValueError(
                f'FrequencyPooling: transform is one of {TRANSFORMS} and size at least 1, got {transform!r} and {size}'
            )
        self.size, self.transform = size, transform
        self.out_channels = in_channels * frequency_count(size, transform)

    def forward(self, inputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor]:
        """(B, D, H, W), or a backbone's tuple of maps, to a tuple of (B, D·m) of the last."""
        features = inputs[-1] if isinstance(inputs, tuple) else inputs
        return (frequency_pool(features, self.size, self.transform),)

    def extra_repr(self) -> str:
        return f'size={self.size}, transform={self.transform!r}'
