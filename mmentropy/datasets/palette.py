# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Palette PNGs: label maps in the colours of PASCAL VOC, and small pictures for pages."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from mmentropy.ops.masks import voc_palette


def palette_png(values: np.ndarray) -> io.BytesIO:
    """A palette PNG in VOC's colours."""
    image = Image.frombytes('P', values.shape[::-1], np.ascontiguousarray(values, dtype=np.uint8).tobytes())
    image.putpalette(voc_palette().ravel().tolist())
    return _png(image)


def few_colors_png(picture: np.ndarray, colors: int) -> io.BytesIO:
    """An RGB picture in at most ``colors`` colours (octree, no dither): a file several times smaller."""
    return _png(Image.fromarray(picture).quantize(colors, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))


def _png(image: Image.Image) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, 'PNG', optimize=True)
    buffer.seek(0)
    return buffer
