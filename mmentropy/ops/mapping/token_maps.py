# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Which axes of a layer's output are the image's: maps (N, D, h, w), channels last (N, h, w, D), tokens (N, L, D)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

#: Class token, distillation token, up to four registers: what may stand before the patches.
MAX_EXTRA_TOKENS = 8


@dataclass(frozen=True)
class Layout:
    """How an output is read as a map.

    Attributes:
        kind: ``nchw``, ``nhwc`` or ``tokens``.
        size: (h, w) of the map.
        channels: D.
        extra_tokens: tokens before the patches (class token, registers).

    >>> import torch
    >>> Layout('tokens', size=(1, 2), channels=3, extra_tokens=1).to_map(torch.zeros(5, 3, 3)).shape
    torch.Size([5, 3, 1, 2])
    """

    kind: str
    size: tuple[int, int]
    channels: int
    extra_tokens: int = 0

    def to_map(self, output: Tensor) -> Tensor:
        """The output as (N, D, h, w); a view where it can be."""
        if self.kind == 'nchw':
            return output
        if self.kind == 'nhwc':
            return output.permute(0, 3, 1, 2)
        patches = output[:, self.extra_tokens :]
        return patches.transpose(1, 2).unflatten(2, self.size)


def grid_size(num_patches: int, image_size: tuple[int, int]) -> tuple[int, int] | None:
    """The (h, w) grid of ``num_patches`` square patches on an image, by trying every patch size.

    The number of patches a side is the image's side over the patch size, rounded down (no padding) or up (padded).

    Args:
        num_patches: h·w.
        image_size: (height, width) in pixels.

    Returns:
        (h, w), or None when no square patch size gives that many.

    >>> grid_size(196, (224, 224))
    (14, 14)
    """
    height, width = image_size
    for patch in range(1, max(height, width) + 1):
        for h, w in ((height // patch, width // patch), (-(-height // patch), -(-width // patch))):
            if h * w == num_patches:
                return h, w
    return None


def is_grid(size: tuple[int, int], image_size: tuple[int, int], slack: int = 1) -> bool:
    """Whether a map of ``size`` can be the image down-sampled by one factor on both axes, up to ``slack`` cells.

    >>> is_grid((7, 7), (224, 224)), is_grid((49, 1), (224, 224))
    (True, False)
    """
    (h, w), (height, width) = size, image_size
    if h > height or w > width:
        return False
    # Both sides must be consistent with one stride: h ± slack over w ± slack brackets height over width.
    return (h - slack) * width <= (w + slack) * height and (w - slack) * height <= (h + slack) * width


def infer_layout(
    shape: tuple[int, ...],
    image_size: tuple[int, int],
    channels: int | None = None,
    extra_tokens: int | None = None,
) -> Layout | None:
    """Read a layer's output shape as a map of the image.

    Args:
        shape: of the output, with the batch first.
        image_size: (height, width) of the network's input.
        channels: D where it is known (the classifier's inputs); else decided from the grid alone.
        extra_tokens: class tokens and registers before the patches where their number is known; else the smallest
            number that leaves a grid.

    Returns:
        the layout, or None when the shape is no map of such an image.

    >>> infer_layout((1, 197, 768), (224, 224))  # a class token and 14 × 14 patches
    Layout(kind='tokens', size=(14, 14), channels=768, extra_tokens=1)
    """
    if len(shape) == 4:
        readings = [Layout('nchw', (shape[2], shape[3]), shape[1]), Layout('nhwc', (shape[1], shape[2]), shape[3])]
        fitting = [r for r in readings if channels in (None, r.channels) and is_grid(r.size, image_size)]
        if fitting:  # both may: the one nearer to the image's proportions, channels first on a tie
            return min(fitting, key=lambda r: abs(r.size[0] * image_size[1] - r.size[1] * image_size[0]))
    if len(shape) == 3 and channels in (None, shape[2]):
        tried = range(min(MAX_EXTRA_TOKENS, shape[1] - 1) + 1) if extra_tokens is None else (0, extra_tokens)
        for extra in tried:
            size = grid_size(shape[1] - extra, image_size)
            if size is not None and is_grid(size, image_size, slack=0 if extra else 1):
                return Layout('tokens', size, shape[2], extra)
    return None
