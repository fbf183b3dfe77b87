# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Class maps as PNG files: a palette of eight bits up to 255 classes, sixteen grey bits beyond; one door for both."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from mmentropy.datasets.palette import palette_png
from mmentropy.ops.seeding.confusion import ignore_value, label_type


def label_png(values: np.ndarray, num_classes: int) -> io.BytesIO:
    """The file of a class map.

    Args:
        values: (H, W) classes, 0 background, or :func:`~mmentropy.ops.seeding.confusion.ignore_value`.
        num_classes: C of the set, with background.

    Returns:
        A palette PNG in VOC's colours up to 255 classes, else a grey PNG of sixteen bits.

    >>> Image.open(label_png(np.array([[0, 20]]), num_classes=21)).mode
    'P'
    >>> np.array(Image.open(label_png(np.array([[299, 65535]]), num_classes=300))).tolist()
    [[299, 65535]]
    """
    if label_type(num_classes) == np.uint8:
        return palette_png(values)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values, np.uint16)).save(buffer, 'PNG', optimize=True)
    buffer.seek(0)
    return buffer


def read_indices(path: Path) -> np.ndarray:
    """(H, W) values of a PNG with one channel, as they are stored: palette indices, or grey of eight or sixteen bits.

    Raises:
        ValueError: if it cannot be read or has several channels.
    """
    try:
        with Image.open(path) as image:
            mode, values = image.mode, np.array(image)
    except Exception:  # Pillow's decoders raise many kinds: DecompressionBombError, struct.error, zlib.error …
        state = 'is missing' if not path.is_file() else 'cannot be decoded; replace the file'
        raise ValueError(f'{path}: the mask {state}') from None
    if values.ndim != 2:
        raise ValueError(f'{path}: found an image of mode {mode}; a mask has palette indices, one channel')
    return values


def read_label_png(path: Path, num_classes: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """(H, W) classes of a PNG of :func:`label_png`, or of any with one channel.

    Args:
        path: of the file.
        num_classes: C of the set, with background, which decides type and ignored value.
        size: (height, width) of the image.

    Raises:
        ValueError: if it cannot be read, is not an index image, holds another value or has another size.
    """
    values, ignore = read_indices(path), ignore_value(num_classes)
    wrong = np.unique(values)
    wrong = wrong[(wrong < 0) | ((wrong >= num_classes) & (wrong != ignore))]
    if len(wrong):
        raise ValueError(f'{path}: value {int(wrong[0])} is neither in 0–{num_classes - 1} nor {ignore}')
    if size is not None and values.shape != tuple(size):
        raise ValueError(f'{path}: the mask has size {values.shape}, the image {tuple(size)}')
    return values.astype(label_type(num_classes))
