# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Where the locations of a feature map are in the image: a start and a step on each axis, in pixels.

Location (i, j) of a map looks at pixel (start_y + i·step_y, start_x + j·step_x). Coordinates are pixel centres: the
first pixel of the image is 0, its left border −½. Half-pixel drawing (``cv2.resize``) takes the map for a tiling of the
image, so that start = (step − 1)/2; padded odd kernels with stride 2 (a ResNet) start at 0 instead, half a step away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

#: A map without a grid tiles its image, as ``cv2.resize`` has it: see :meth:`MapGrid.half_pixel`.
HALF_PIXEL = None

#: One value for both axes, or (y, x).
Pair = float | Sequence[float]


def as_pair(value: Pair) -> tuple[float, float]:
    """One value for both axes, or (y, x), as (y, x).

    >>> as_pair(2), as_pair((3, 1))
    ((2.0, 2.0), (3.0, 1.0))
    """
    if isinstance(value, Sequence):
        if len(value) == 1:
            return float(value[0]), float(value[0])
        if len(value) != 2:
            raise ValueError(f'expected one value or a pair (y, x), got {tuple(value)}')
        return float(value[0]), float(value[1])
    return float(value), float(value)


@dataclass(frozen=True)
class MapGrid:
    r"""Where location (0, 0) of a map looks, and how far the next one is.

    Every layer makes a new grid from that of its input. For a convolution of kernel k, stride s, left padding p and
    dilation d, :math:`start' = start + (d(k-1)/2 - p)\,step` and :math:`step' = s \cdot step`, on each axis.

    Args:
        start: (y, x) of location (0, 0), in pixels of the image, pixel centres.
        step: (y, x) pixels from one location to the next.
        size: (height, width) of the image in whose pixels start and step are given.

    Raises:
        ValueError: when a number is not finite, a step is zero, or the size is not positive.

    Source: the arithmetic of receptive fields, after Araujo et al., "Computing receptive fields of convolutional neural
    networks" (Distill 2019).

    >>> image = MapGrid.of_image((224, 224))
    >>> image.convolved(7, stride=2, padding=3).convolved(3, stride=2, padding=1)  # the stem of a ResNet
    MapGrid(start=(0.0, 0.0), step=(4.0, 4.0), size=(224, 224))
    >>> image.convolved(16, stride=16)  # patches
    MapGrid(start=(7.5, 7.5), step=(16.0, 16.0), size=(224, 224))
    """

    start: tuple[float, float]
    step: tuple[float, float]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, 'start', as_pair(self.start))
        object.__setattr__(self, 'step', as_pair(self.step))
        object.__setattr__(self, 'size', (int(self.size[0]), int(self.size[1])))
        if not np.isfinite([*self.start, *self.step]).all() or 0 in self.step:
            raise ValueError(f'a grid needs finite starts and steps other than zero, got {self.start} and {self.step}')
        if min(self.size) < 1:
            raise ValueError(f'a grid needs the size of its image, got {self.size[0]}x{self.size[1]}')

    # -- where grids come from ---------------------------------------------------------------------------------------

    @classmethod
    def of_image(cls, size: tuple[int, int]) -> MapGrid:
        """The image itself: every location is its own pixel."""
        return cls((0.0, 0.0), (1.0, 1.0), size)

    @classmethod
    def half_pixel(cls, map_size: tuple[int, int], size: tuple[int, int]) -> MapGrid:
        """The grid of a map that tiles its image: what ``cv2.resize`` takes every map for.

        >>> MapGrid.half_pixel((7, 7), (224, 224))
        MapGrid(start=(15.5, 15.5), step=(32.0, 32.0), size=(224, 224))
        """
        step = (size[0] / map_size[0], size[1] / map_size[1])
        return cls(((step[0] - 1) / 2, (step[1] - 1) / 2), step, size)

    def is_half_pixel(self, map_size: tuple[int, int]) -> bool:
        """Whether drawing a map of this size in its place is what ``cv2.resize`` does."""
        neutral = MapGrid.half_pixel(map_size, self.size)
        return bool(np.allclose([*self.start, *self.step], [*neutral.start, *neutral.step], rtol=0, atol=1e-6))

    def offset(self, map_size: tuple[int, int]) -> tuple[float, float]:
        """Pixels (y, x) from where half-pixel drawing puts the middle of the map to where the grid has it.

        >>> MapGrid(start=(0, 0), step=(32, 32), size=(224, 224)).offset((7, 7))
        (-15.5, -15.5)
        """
        neutral = MapGrid.half_pixel(map_size, self.size)
        middle = [(n - 1) / 2 for n in map_size]
        there = [s + m * t for s, m, t in zip(self.start, middle, self.step)]
        drawn = [s + m * t for s, m, t in zip(neutral.start, middle, neutral.step)]
        return there[0] - drawn[0], there[1] - drawn[1]

    # -- what layers do to it ----------------------------------------------------------------------------------------

    def _moved(self, by: Sequence[float], factor: Sequence[float]) -> MapGrid:
        """Start moved by so many steps, and the step multiplied."""
        start = as_pair([s + b * t for s, b, t in zip(self.start, by, self.step)])
        return replace(self, start=start, step=as_pair([t * f for t, f in zip(self.step, factor)]))

    def convolved(self, kernel: Pair, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1) -> MapGrid:
        """Behind a convolution or pooling.

        Args:
            kernel, stride, dilation: one number or (y, x).
            padding: at the top and left: what is padded at the other side moves nothing.
        """
        k, p, d = as_pair(kernel), as_pair(padding), as_pair(dilation)
        return self._moved([d[a] * (k[a] - 1) / 2 - p[a] for a in (0, 1)], as_pair(stride))

    def transposed(self, kernel: Pair, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1) -> MapGrid:
        """Behind a transposed convolution: location i is spread over s·i + d·n − p, n < k."""
        k, s, p, d = as_pair(kernel), as_pair(stride), as_pair(padding), as_pair(dilation)
        return self._moved([(p[a] - d[a] * (k[a] - 1) / 2) / s[a] for a in (0, 1)], [1 / s[a] for a in (0, 1)])

    def sliced(self, first: Pair, stride: Pair = 1) -> MapGrid:
        """Behind ``x[..., first::stride]``; a negative first is a padding by that much."""
        return self._moved(as_pair(first), as_pair(stride))

    def folded(self, block: Pair) -> MapGrid:
        """Behind a fold of neighbours into channels, or a mean over blocks: patch merging, pixel-unshuffle."""
        return self.convolved(block, stride=block)

    def unfolded(self, block: Pair) -> MapGrid:
        """Behind a fold of channels into neighbours: pixel-shuffle."""
        return self.transposed(block, stride=block)

    def interpolated(
        self, old: tuple[int, int], new: tuple[int, int], align_corners: bool = False, nearest: bool = False
    ) -> MapGrid:
        """Behind an interpolation from one map size to another.

        Args:
            old, new: (h, w) of the maps.
            align_corners: first and last locations stay where they are; else half-pixel centres.
            nearest: of location j only ⌊j·old/new⌋ is read, as ``F.interpolate(mode='nearest')`` does: the mean place.
        """
        by, factor = [], []
        for before, after in zip(old, new):
            ratio = before / after
            if align_corners and after > 1:
                ratio = (before - 1) / (after - 1)
                by.append(0.0)
            elif nearest:
                read = np.arange(after) * before // after
                by.append(float(np.mean(read - np.arange(after) * ratio)))
            else:
                by.append((ratio - 1) / 2)
            factor.append(ratio)
        return self._moved(by, factor) if all(factor) else self

    def shifted(self, by: Pair) -> MapGrid:
        """Every location looks (y, x) pixels further down and right.

        >>> MapGrid((0, 0), (32, 32), (224, 224)).shifted((1, -2)).start
        (1.0, -2.0)
        """
        dy, dx = as_pair(by)
        return replace(self, start=(self.start[0] + dy, self.start[1] + dx))

    # -- what happened to the image before ---------------------------------------------------------------------------

    def before_resize(self, size: tuple[int, int]) -> MapGrid:
        """The grid in the pixels of the image before it was resized (half-pixel centres) to :attr:`size`.

        >>> MapGrid((0, 0), (32, 32), (224, 224)).before_resize((448, 448))
        MapGrid(start=(0.5, 0.5), step=(64.0, 64.0), size=(448, 448))
        """
        scale = [before / now for before, now in zip(size, self.size)]
        start = as_pair([(s + 0.5) * k - 0.5 for s, k in zip(self.start, scale)])
        return MapGrid(start, as_pair([t * k for t, k in zip(self.step, scale)]), size)

    def before_crop(self, top_left: Pair, size: tuple[int, int]) -> MapGrid:
        """The grid in the pixels of the image of ``size`` that was cropped at (top, left).

        >>> MapGrid((0, 0), (32, 32), (224, 224)).before_crop((16, 16), (256, 256))
        MapGrid(start=(16.0, 16.0), step=(32.0, 32.0), size=(256, 256))
        """
        shift = as_pair(top_left)
        return MapGrid((self.start[0] + shift[0], self.start[1] + shift[1]), self.step, size)

    def before_padding(self, top_left: Pair, size: tuple[int, int]) -> MapGrid:
        """The grid in the pixels of the image of ``size`` that was padded by (top, left) pixels there."""
        shift = as_pair(top_left)
        return self.before_crop((-shift[0], -shift[1]), size)

    def before_pipeline(
        self,
        original: tuple[int, int],
        scale: tuple[float, float] | None = None,
        seen: tuple[int, int] | None = None,
    ) -> MapGrid:
        """The grid in the pixels of the original image, behind what a test pipeline may do: resize, then crop or pad.

        The image is resized by ``scale``; what is then larger than ``seen`` was cropped in its middle, what is smaller
        was padded at the bottom and right; and from ``seen`` to :attr:`size` a batch was padded likewise. An image that
        was only resized keeps its grid, in the pixels of the input: drawing asks for proportions alone.

        Args:
            original: (height, width) of the image in its file.
            scale: factors (x, y) of its resizing, OpenMMLab's ``scale_factor``; None resizes the whole image to
                ``seen``.
            seen: (height, width) behind the pipeline, OpenMMLab's ``img_shape``; None is :attr:`size`.

        >>> MapGrid((0, 0), (32, 32), (224, 224)).before_pipeline((512, 1024), (0.5, 0.5), (224, 224))
        MapGrid(start=(32.5, 288.5), step=(64.0, 64.0), size=(512, 1024))
        """
        seen = self.size if seen is None else (int(seen[0]), int(seen[1]))
        resized = seen if scale is None else (round(original[0] * scale[1]), round(original[1] * scale[0]))
        if resized == seen == self.size:
            return self
        # What CenterCrop of mmcv takes off at the top and left; nothing where the image was padded.
        corner = [max(0, round((whole - part) / 2)) for whole, part in zip(resized, seen)]
        return self.before_crop(corner, resized).before_resize((int(original[0]), int(original[1])))

    # -- drawing and files -------------------------------------------------------------------------------------------

    def coordinates(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        r"""Map coordinates of the rows and of the columns of a picture of the whole image.

        Pixel x of a picture of width W shows the image at :math:`u = (x + ½)\,W_0/W - ½`; the map is read at
        :math:`(u - start)/step`.

        Args:
            size: (height, width) of the picture.

        Returns:
            (height,) and (width,) float64.
        """
        rows, columns = (
            ((np.arange(n) + 0.5) * whole / n - 0.5 - start) / step
            for n, whole, start, step in zip(size, self.size, self.start, self.step)
        )
        return rows, columns

    def pixels(self, map_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Where the rows and the columns of a map are in the image: (h,) and (w,) float64, pixel centres."""
        rows, columns = (s + t * np.arange(n) for s, t, n in zip(self.start, self.step, map_size))
        return rows, columns

    def to_array(self) -> np.ndarray:
        """(3, 2) float64, start, step and size, for a file.

        >>> MapGrid((0, 0), (32, 16), (224, 112)).to_array().tolist()
        [[0.0, 0.0], [32.0, 16.0], [224.0, 112.0]]
        """
        return np.array([self.start, self.step, self.size], np.float64)

    @classmethod
    def from_array(cls, array: np.ndarray) -> MapGrid:
        """The grid of :meth:`to_array`, of any six numbers in that order."""
        array = np.asarray(array, np.float64)
        if array.size != 6:
            raise ValueError(f'a grid is six numbers (start, step, size; y and x), got the shape {array.shape}')
        start, step, size = array.reshape(3, 2).tolist()
        return cls(as_pair(start), as_pair(step), (round(size[0]), round(size[1])))
