# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Which axes of a layer's output are the image's: maps (N, D, h, w), channels last (N, h, w, D), tokens (N, n, D)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """How an output is read as a map.

    Attributes:
        kind: ``nchw``, ``nhwc``, ``tokens`` (N, n, D) or ``channels_first_tokens`` (N, D, n).
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
        if self.kind == 'channels_first_tokens':
            return output.unflatten(2, self.size)
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
    extra_tokens: int = 0,
    kind: str | None = None,
) -> Layout | None:
    """Read a layer's output shape as a map of the image.

    Args:
        shape: of the output, with the batch first.
        image_size: (height, width) of the network's input.
        channels: D where it is known (the classifier's inputs); else decided from the grid alone.
        extra_tokens: class tokens and registers that may stand before the patches.
        kind: the reading where it is known; else all are tried.

    Returns:
        the layout, or None when the shape is no map of such an image.

    >>> infer_layout((1, 197, 768), (224, 224), extra_tokens=1)
    Layout(kind='tokens', size=(14, 14), channels=768, extra_tokens=1)
    >>> infer_layout((1, 7, 7, 768), (224, 224)).kind
    'nhwc'
    """
    readings = _of_maps(shape, image_size) if len(shape) == 4 else _of_tokens(shape, image_size, extra_tokens)
    readings = [r for r in readings if channels in (None, r.channels) and kind in (None, r.kind)]
    if channels is None and kind is None:  # two axes of three could be the tokens: the second is, unless D tells
        readings = [r for r in readings if r.kind != 'channels_first_tokens']
    # Where two fit: the one nearer to the image's proportions, and the first on a tie.
    height, width = image_size
    return min(readings, key=lambda r: abs(r.size[0] * width - r.size[1] * height), default=None)


def _of_maps(shape: tuple[int, ...], image_size: tuple[int, int]) -> list[Layout]:
    """(N, D, h, w) and (N, h, w, D), where h and w are those of a grid."""
    readings = [Layout('nchw', (shape[2], shape[3]), shape[1]), Layout('nhwc', (shape[1], shape[2]), shape[3])]
    return [reading for reading in readings if is_grid(reading.size, image_size)]


def _of_tokens(shape: tuple[int, ...], image_size: tuple[int, int], extra_tokens: int) -> list[Layout]:
    """(N, n, D), with and without the extra tokens, and (N, D, n)."""
    if len(shape) != 3:
        return []
    readings = []
    for kind, count, channels, extra in (
        ('tokens', shape[1], shape[2], 0),
        ('tokens', shape[1] - extra_tokens, shape[2], extra_tokens),
        ('channels_first_tokens', shape[2], shape[1], 0),
    ):
        size = grid_size(count, image_size) if count > 0 else None
        if size is not None and is_grid(size, image_size, slack=0 if extra else 1):
            readings.append(Layout(kind, size, channels, extra))
    return readings
