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

    >>> normalize_map(np.array([[-1.0, 0.0, 1.0, 4.0]])).tolist()
    [[0.0, 0.20000000298023224, 0.4000000059604645, 1.0]]
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
    cam: np.ndarray | Tensor, size: tuple[int, int], interpolation: str = 'cubic', normalize: str = 'minmax'
) -> np.ndarray:
    """Resize raw maps to the image, then normalise each: what metrics, visualizers and seed writers read.

    Args:
        cam: (h, w) or (K, h, w) raw maps, array or tensor (any device, any float type).
        size: (height, width) of the result, in pixels.
        interpolation: see :func:`resize_map`.
        normalize: see :func:`normalize_map`: ``minmax`` for the WSOL protocol, ``max`` for shares of the maximum.

    Returns:
        (height, width) or (K, height, width) float32 in [0, 1].
    """
    if isinstance(cam, Tensor):
        cam = cam.detach().to('cpu', torch.float32).numpy()
    return normalize_map(resize_map(cam, size, interpolation), normalize)
