# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From a raw class map at feature resolution to a map in [0, 1] at image resolution: the one place where it happens."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

#: The protocols' names for OpenCV's interpolations.
INTERPOLATIONS = {
    'nearest': cv2.INTER_NEAREST,
    'bilinear': cv2.INTER_LINEAR,
    'cubic': cv2.INTER_CUBIC,
    'area': cv2.INTER_AREA,
}


def normalize_map(cam: np.ndarray) -> np.ndarray:
    r"""Min-max normalisation over the last two axes, :math:`(m - \min m) / (\max m - \min m)`.

    A constant map becomes zeros, as in the WSOL evaluation protocol (Choe et al., CVPR 2020).

    Args:
        cam: (..., H, W) maps, any float type; copied to float32.

    Returns:
        (..., H, W) float32 in [0, 1].

    Raises:
        ValueError: if a value is not finite.
    """
    cam = np.asarray(cam, dtype=np.float32)
    low = cam.min(axis=(-2, -1), keepdims=True)
    span = cam.max(axis=(-2, -1), keepdims=True) - low
    if not np.isfinite(span).all():
        raise ValueError('a score map holds NaN or infinite values; every location needs a finite score')
    return (cam - low) / np.where(span > 0, span, 1)


def resize_map(cam: np.ndarray, size: tuple[int, int], interpolation: str = 'cubic') -> np.ndarray:
    """Resize raw maps with OpenCV (half-pixel centres, as the WSOL protocol's ``cv2.resize``).

    Args:
        cam: (H, W) or (K, H, W) maps.
        size: (height, width) of the result, in pixels.
        interpolation: one of ``nearest``, ``bilinear``, ``cubic`` (the protocol's), ``area``.

    Returns:
        (height, width) or (K, height, width) float32; still raw: cubic interpolation may overshoot the range.
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


def upsample_map(cam: np.ndarray | Tensor, size: tuple[int, int], interpolation: str = 'cubic') -> np.ndarray:
    """Resize raw maps to the image, then min-max normalise each: what metrics, visualizers and seed writers read.

    Args:
        cam: (h, w) or (K, h, w) raw maps, array or tensor (any device, any float type).
        size: (height, width) of the result, in pixels.
        interpolation: see :func:`resize_map`.

    Returns:
        (height, width) or (K, height, width) float32 in [0, 1]; a constant map becomes zeros.
    """
    if isinstance(cam, Tensor):
        cam = cam.detach().to('cpu', torch.float32).numpy()
    return normalize_map(resize_map(cam, size, interpolation))
