# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Maps as colours, and colours over images."""

from __future__ import annotations

import cv2
import numpy as np

#: Names of the colour maps; perceptually ordered ones, so that a brighter colour is a larger value.
COLORMAPS = {
    'turbo': cv2.COLORMAP_TURBO,
    'viridis': cv2.COLORMAP_VIRIDIS,
    'magma': cv2.COLORMAP_MAGMA,
    'inferno': cv2.COLORMAP_INFERNO,
    'jet': cv2.COLORMAP_JET,
}


def colorize_map(cam: np.ndarray, colormap: str = 'turbo') -> np.ndarray:
    """A map in [0, 1] as colours.

    Args:
        cam: (H, W) map in [0, 1]; values outside are clipped.
        colormap: one of :data:`COLORMAPS`.

    Returns:
        (H, W, 3) uint8, RGB.

    >>> colorize_map(np.array([[0.0, 1.0]]), 'viridis').tolist()
    [[[68, 1, 84], [253, 231, 37]]]
    """
    if colormap not in COLORMAPS:
        raise ValueError(f'colormap must be one of {sorted(COLORMAPS)}, got {colormap!r}')
    levels = np.round(255 * np.clip(cam, 0, 1)).astype(np.uint8)
    return cv2.applyColorMap(levels, COLORMAPS[colormap])[..., ::-1].copy()


def blend_map(image: np.ndarray, cam: np.ndarray, alpha: float = 0.5, colormap: str = 'turbo') -> np.ndarray:
    r"""A map's colours over an image, :math:`(1 - \alpha) \cdot image + \alpha \cdot colour(map)`.

    Args:
        image: (H, W, 3) uint8, RGB.
        cam: (H, W) map in [0, 1], the image's size.
        alpha: weight of the colours in [0, 1].
        colormap: see :func:`colorize_map`.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        ValueError: if the sizes differ or ``alpha`` is outside [0, 1].

    >>> blend_map(np.full((1, 1, 3), 100, np.uint8), np.array([[1.0]]), alpha=0.5, colormap='viridis').tolist()
    [[[176, 166, 68]]]
    """
    if image.shape[:2] != cam.shape:
        raise ValueError(f'the map is {cam.shape}, the image {image.shape[:2]}; up-sample the map first')
    if not 0 <= alpha <= 1:
        raise ValueError(f'alpha is a weight in [0, 1], got {alpha}')
    mixed = (1 - alpha) * image.astype(np.float32) + alpha * colorize_map(cam, colormap)
    return np.round(mixed).astype(np.uint8)
