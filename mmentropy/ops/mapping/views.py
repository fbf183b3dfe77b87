# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""An image looked at in several sizes and mirrored, and the maps of every look drawn over the one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from .geometry import HALF_PIXEL, MapGrid
from .scaling import draw_maps

#: Maps of several views are drawn at the image's size divided by this.
VIEW_STRIDE = 4


@dataclass(frozen=True)
class View:
    """One look at an image.

    Args:
        size: (height, width) that the image is resized to.
        mirrored: left and right are exchanged.

    >>> import torch
    >>> View((1, 3), mirrored=True).turned(torch.tensor([[1, 2, 3]])).tolist()
    [[3, 2, 1]]
    """

    size: tuple[int, int]
    mirrored: bool = False

    def turned(self, pictures: Tensor) -> Tensor:
        """(..., H, W) of the image as this view has it, or of the view as the image has it: mirrored, or as it is."""
        return pictures.flip(-1) if self.mirrored else pictures

    def drawn(
        self, maps: Tensor, size: tuple[int, int], grid: MapGrid | None = HALF_PIXEL, interpolation: str = 'bilinear'
    ) -> Tensor:
        """The view's maps over the image: drawn where their locations look, and mirrored then.

        The order matters. Where a map is not a tiling of its input, mirroring the small map would move it to the other
        side by as much as half-pixel drawing is off.

        Args:
            maps: (..., h, w) of this view.
            size: (height, width) of the picture.
            grid: of the map in the view's own pixels; see :func:`~.scaling.draw_maps`.
            interpolation: see :func:`~.scaling.draw_maps`.

        Returns:
            (..., height, width).

        >>> import torch
        >>> mirrored = View((1, 4), mirrored=True)
        >>> padded = MapGrid((0, 0), (1, 2), (1, 4))  # locations at columns 0 and 2 of the mirror image
        >>> mirrored.drawn(torch.tensor([[8.0, 0.0]]), (1, 4), padded).tolist()
        [[0.0, 0.0, 4.0, 8.0]]
        """
        return self.turned(draw_maps(maps, size, grid, interpolation))


def views_of(size: tuple[int, int], scales: Sequence[float] = (1.0,), flip: bool = False) -> list[View]:
    """The looks at an image of (height, width): every scale, plain and mirrored; the image's own size first.

    Args:
        size: of the image, in pixels.
        scales: factors of the image's sides, rounded to whole pixels.
        flip: each scale mirrored as well.

    Raises:
        ValueError: without a scale, or for one that is not positive.

    >>> views_of((64, 96), (0.5, 1.0), flip=True)[:2]
    [View(size=(64, 96), mirrored=False), View(size=(64, 96), mirrored=True)]
    """
    if not scales or min(scales) <= 0:
        raise ValueError(f'scales must be positive factors, got {tuple(scales)}')
    return [
        View((max(1, round(size[0] * scale)), max(1, round(size[1] * scale))), mirrored)
        for scale in sorted(scales, key=lambda scale: scale != 1)
        for mirrored in ((False, True) if flip else (False,))
    ]


def view_size(size: tuple[int, int], stride: int = VIEW_STRIDE) -> tuple[int, int]:
    """(h, w) of maps of several views of an image of (height, width): its sides over the stride, rounded up.

    >>> view_size((224, 225))
    (56, 57)
    """
    return -(-size[0] // stride), -(-size[1] // stride)
