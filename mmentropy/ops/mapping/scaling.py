# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Class maps drawn over their image: at any size, with every location where its grid says it looks."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, overload

import cv2
import numpy as np

from mmentropy.ops.tensors import is_tensor

from .geometry import HALF_PIXEL, MapGrid

if TYPE_CHECKING:
    from torch import Tensor

#: The protocols' names for OpenCV's interpolations.
INTERPOLATIONS = {
    'nearest': cv2.INTER_NEAREST,
    'bilinear': cv2.INTER_LINEAR,
    'cubic': cv2.INTER_CUBIC,
    'area': cv2.INTER_AREA,
}


#: How a raw map is brought to [0, 1]; what a threshold t then means on the raw map m.
NORMALIZATIONS = ('minmax', 'max')


def normalize_map(cam: np.ndarray, normalize: str = 'minmax') -> np.ndarray:
    r"""Bring raw maps to [0, 1], each over its last two axes.

    ==========  =============================================  =============================================
    ``minmax``  :math:`(m - \min m) / (\max m - \min m)`       t is the height :math:`\min m + t (\max m - \min m)`
    ``max``     :math:`\max(m, 0) / \max m`                    t is t times the maximum, the CAM paper's "20 %"
    ==========  =============================================  =============================================

    ``minmax`` is the WSOL evaluation protocol's (Choe et al., CVPR 2020): it does not ask where zero lies, and a
    constant map becomes zeros. ``max`` cuts negative evidence and keeps zero where it is (Zhou et al., CVPR 2016); a
    map without a positive value becomes zeros.

    >>> normalize_map(np.array([[-1.0, 0.0, 1.0, 4.0]])).round(2)
    array([[0. , 0.2, 0.4, 1. ]], dtype=float32)
    >>> normalize_map(np.array([[-1.0, 0.0, 1.0, 4.0]]), 'max').tolist()
    [[0.0, 0.0, 0.25, 1.0]]

    Args:
        cam: (..., H, W) maps, any float type; copied to float32.
        normalize: one of :data:`NORMALIZATIONS`.

    Returns:
        (..., H, W) float32 in [0, 1].

    Raises:
        ValueError: if a value is not finite, or for another normalisation.
    """
    if normalize not in NORMALIZATIONS:
        raise ValueError(f'normalize must be one of {NORMALIZATIONS}, got {normalize!r}')
    cam = np.asarray(cam, dtype=np.float32)
    low, top = cam.min(axis=(-2, -1), keepdims=True), cam.max(axis=(-2, -1), keepdims=True)
    span = top - low
    if not np.isfinite(span).all():
        raise ValueError('a score map holds NaN or infinite values; every location needs a finite score')
    if normalize == 'max':
        return np.maximum(cam, 0) / np.where(top > 0, top, 1)
    return (cam - low) / np.where(span > 0, span, 1)


def resize_map(cam: np.ndarray, size: tuple[int, int], interpolation: str = 'cubic') -> np.ndarray:
    """Resize raw maps with OpenCV (half-pixel centres, as the WSOL protocol's ``cv2.resize``).

    Args:
        cam: (H, W) or (K, H, W) maps.
        size: (height, width) of the result, in pixels.
        interpolation: one of ``nearest``, ``bilinear``, ``cubic`` (the protocol's), ``area``.

    Returns:
        (height, width) or (K, height, width) float32; still raw: cubic interpolation may overshoot the range.

    >>> resize_map(np.array([[0.0, 1.0]]), (1, 4), 'bilinear').tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f'interpolation must be one of {sorted(INTERPOLATIONS)}, got {interpolation!r}')
    cam = np.asarray(cam, dtype=np.float32)
    if cam.ndim == 3:
        out = np.empty((len(cam), *size), dtype=np.float32)
        for i, one in enumerate(cam):
            out[i] = resize_map(one, size, interpolation)
        return out
    if cam.shape == tuple(size):
        return cam
    return cv2.resize(cam, (int(size[1]), int(size[0])), interpolation=INTERPOLATIONS[interpolation])


def upsample_map(
    cam: np.ndarray | Tensor,
    size: tuple[int, int],
    interpolation: str = 'cubic',
    normalize: str = 'minmax',
    grid: MapGrid | None = HALF_PIXEL,
) -> np.ndarray:
    """Draw raw maps over the image, then normalise each: what metrics, visualizers and seed writers read.

    Args:
        cam: (h, w) or (K, h, w) raw maps, array or tensor (any device, any float type).
        size: (height, width) of the result, in pixels.
        interpolation: see :func:`resize_map`.
        normalize: see :func:`normalize_map`: ``minmax`` for the WSOL protocol, ``max`` for shares of the maximum.
        grid: where the locations look, see :func:`draw_maps`; None is half-pixel, as ``cv2.resize``.

    Returns:
        (height, width) or (K, height, width) float32 in [0, 1].

    >>> upsample_map(np.array([[2.0, 6.0]]), (1, 4), 'bilinear').tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    >>> upsample_map(np.array([[2.0, 6.0]]), (1, 4), 'bilinear', grid=MapGrid((0, 0), (1, 2), (1, 4))).tolist()
    [[0.0, 0.5, 1.0, 1.0]]
    """
    if is_tensor(cam):
        cam = cam.detach().float().cpu().numpy()
    return normalize_map(draw_maps(cam, size, grid, interpolation), normalize)


#: The cubic kernel of ``cv2.resize`` and ``F.interpolate``: the slope at distance 1.
CUBIC_SLOPE = -0.75


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with slope a: (a+2)d³ − (a+3)d² + 1 up to 1, a(d³ − 5d² + 8d − 4) up to 2."""
    a, d = CUBIC_SLOPE, np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = a * (((d - 5) * d + 8) * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def sampling_matrix(coordinates: np.ndarray, length: int, interpolation: str = 'cubic') -> np.ndarray:
    r"""The linear map that reads a line of values at any places: :math:`out = M\,values`.

    Beyond both ends the last value goes on (a replicated border).

    Args:
        coordinates: (n,) places, in units of the line: 0 is its first value.
        length: of the line.
        interpolation: ``nearest`` (halves up), ``bilinear`` or ``cubic`` (a = −0.75, as in ``cv2.resize``).

    Returns:
        (n, length) float32; each row sums to one.

    Raises:
        ValueError: for another interpolation.

    >>> sampling_matrix(np.array([-1.0, 0.25, 1.0]), 2, 'bilinear').tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.0, 1.0]]
    """
    if interpolation not in ('nearest', 'bilinear', 'cubic'):
        raise ValueError(
            f"maps are drawn in their place by 'nearest', 'bilinear' or 'cubic', got {interpolation!r}; "
            'other interpolations know half-pixel centres only, without a grid'
        )
    coordinates = np.asarray(coordinates, np.float64)
    if interpolation == 'nearest':
        coordinates = np.floor(coordinates + 0.5)
    whole = np.floor(coordinates)
    out = np.zeros((len(coordinates), length))
    rows = np.arange(len(coordinates))
    for tap in range(-1, 3) if interpolation == 'cubic' else range(2):
        distance = coordinates - (whole + tap)
        weight = _cubic(distance) if interpolation == 'cubic' else 1 - np.abs(distance)
        # Taps that fall on the same last value add up: one statement a tap, as each row has one value in it.
        out[rows, np.clip(whole + tap, 0, length - 1).astype(np.intp)] += weight
    return out.astype(np.float32)


@lru_cache(maxsize=16)
def _matrices(
    map_size: tuple[int, int], size: tuple[int, int], grid: MapGrid, interpolation: str
) -> tuple[np.ndarray, np.ndarray]:
    """For the rows (H, h), and for the columns, transposed (w, W)."""
    rows, columns = grid.coordinates(size)
    down = sampling_matrix(rows, map_size[0], interpolation)
    across = np.ascontiguousarray(sampling_matrix(columns, map_size[1], interpolation).T)
    return down, across


@overload
def draw_maps(
    maps: np.ndarray, size: tuple[int, int], grid: MapGrid | None = ..., interpolation: str = ...
) -> np.ndarray: ...
@overload
def draw_maps(maps: Tensor, size: tuple[int, int], grid: MapGrid | None = ..., interpolation: str = ...) -> Tensor: ...
def draw_maps(
    maps: np.ndarray | Tensor,
    size: tuple[int, int],
    grid: MapGrid | None = HALF_PIXEL,
    interpolation: str = 'cubic',
) -> np.ndarray | Tensor:
    r"""Draw raw maps over the whole image, each location where its grid says that it looks.

    Pixel x of a picture of width W shows the image of width :math:`W_0` at :math:`u = (x + ½)\,W_0/W - ½`, so it reads
    the map at :math:`(u - start)/step`; likewise in y. Outside the first and the last location the border goes on.
    Without a grid, and with one that says the same (:meth:`MapGrid.is_half_pixel`), this is ``cv2.resize``, bit for bit
    on arrays and on tensors of the CPU. A mirrored view's maps are drawn first and mirrored then.

    Args:
        maps: (..., h, w) array or tensor of any float type. A tensor stays on its device; gradients flow through it.
        size: (height, width) of the picture.
        grid: where the locations are, for an image of any size: only its proportions to ``size`` count.
        interpolation: ``nearest``, ``bilinear``, ``cubic`` (the WSOL protocol's), without a grid also ``area``.

    Returns:
        (..., height, width) float32, raw: cubic interpolation may overshoot the range of the map.

    Raises:
        ValueError: for an unknown interpolation, ``area`` with a grid, or maps without two axes.

    >>> ramp = np.arange(4.0)[None]  # locations that look at columns 0, 2, 4, 6 of an image 8 wide
    >>> draw_maps(ramp, (1, 8), MapGrid((0, 0), (1, 2), (1, 8)), 'bilinear').tolist()
    [[0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0]]
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f'interpolation must be one of {sorted(INTERPOLATIONS)}, got {interpolation!r}')
    if maps.ndim < 2:
        raise ValueError(f'maps must be (..., h, w), got the shape {tuple(maps.shape)}')
    size = (int(size[0]), int(size[1]))
    map_size = (int(maps.shape[-2]), int(maps.shape[-1]))
    given = None if grid is None or grid.is_half_pixel(map_size) else grid
    placed = given or MapGrid.half_pixel(map_size, size)
    if is_tensor(maps):
        import torch

        by_matrix = interpolation in ('bilinear', 'cubic') and (maps.requires_grad or maps.device.type != 'cpu')
        if given is None and not by_matrix:
            drawn = _resized(maps.detach().to('cpu', torch.float32).numpy(), size, interpolation)
            return torch.from_numpy(drawn).to(maps.device)
        down, across = (
            maps.new_tensor(matrix, dtype=torch.float32) for matrix in _matrices(map_size, size, placed, interpolation)
        )
        return down @ (maps.float() @ across)
    maps = np.asarray(maps, np.float32)
    if given is None:
        return _resized(maps, size, interpolation)
    rows, columns = _matrices(map_size, size, placed, interpolation)
    return rows @ (maps @ columns)


def move_maps(
    maps: Tensor, grid: MapGrid | None, size: tuple[int, int], new_grid: MapGrid | None, image_size: tuple[int, int]
) -> Tensor:
    r"""Read raw maps at the locations of another map of the same image: bilinear, beyond the border it goes on.

    Location j of the new map looks at pixel :math:`start' + j\,step'`, so it reads the old one at
    :math:`(start' + j\,step' - start)/step`.

    Args:
        maps: (..., h, w).
        grid: where its locations look; None for half-pixel.
        size: (h', w') of the other map.
        new_grid: where the other map's locations look; None for half-pixel.
        image_size: (height, width) of the image.

    Returns:
        (..., h', w') float32 on the device of ``maps``; the maps as they are where both are the same.

    >>> import torch
    >>> old, new = MapGrid((0, 0), (1, 4), (1, 16)), MapGrid((0, 2), (1, 4), (1, 16))
    >>> move_maps(torch.tensor([[0.0, 4.0, 8.0, 12.0]]), old, (1, 4), new, (1, 16)).tolist()
    [[2.0, 6.0, 10.0, 12.0]]
    """
    map_size = (int(maps.shape[-2]), int(maps.shape[-1]))
    old, new = (
        MapGrid.half_pixel(n, image_size) if one is None else one.before_resize(image_size)
        for one, n in ((grid, map_size), (new_grid, size))
    )
    if old == new and map_size == tuple(size):
        return maps.float()
    matrices = []
    for axis, places in enumerate(new.pixels(size)):
        matrix = sampling_matrix((places - old.start[axis]) / old.step[axis], map_size[axis], 'bilinear')
        matrices.append(maps.float().new_tensor(matrix))
    return matrices[0] @ maps.float() @ matrices[1].T


def _resized(maps: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """``cv2.resize`` of (..., h, w) maps."""
    if maps.ndim <= 3:
        return resize_map(maps, size, interpolation)
    drawn = resize_map(maps.reshape(-1, *maps.shape[-2:]), size, interpolation)
    return drawn.reshape(*maps.shape[:-2], *size)
