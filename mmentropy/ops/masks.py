# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From a data set's mask file to 0/1 masks, one function for all conventions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: Value of pixels that a palette mask leaves out.
IGNORE_LABEL = 255


def _nonzero(values: np.ndarray) -> np.ndarray:
    return np.any(values != 0, axis=2) if values.ndim == 3 else np.not_equal(values, 0)


def _half(values: np.ndarray) -> np.ndarray:
    gray = values[..., 0] if values.ndim == 3 else values
    return gray >= 128


def _not_blue(values: np.ndarray) -> np.ndarray:
    if values.ndim != 3 or values.shape[2] < 3:
        raise ValueError(f'a mask on blue needs three channels, found an array of shape {values.shape}')
    color = values[..., :3].astype(np.int16)
    # The files are JPEGs: pure (0, 0, 254) comes back a little off, so ask for clearly blue.
    return ~((color[..., 2] >= 160) & (color[..., 0] <= 80) & (color[..., 1] <= 80))


def _palette(values: np.ndarray) -> np.ndarray:
    if values.ndim != 2:
        raise ValueError(f'a palette mask needs one channel, found an array of shape {values.shape}')
    return (values != 0) & (values != IGNORE_LABEL)


#: Name of the convention → foreground test.
MASK_FORMATS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'nonzero': _nonzero,
    'half': _half,
    'not_blue': _not_blue,
    'palette': _palette,
}


def decode_mask(values: np.ndarray, mask_format: str = 'nonzero') -> tuple[np.ndarray, np.ndarray | None]:
    """Foreground (and ignored pixels, where the convention knows them) of a mask file's values.

    Args:
        values: (H, W) or (H, W, channels), RGB order, as the file stores them (palette images: the indices).
        mask_format: ``nonzero`` any channel not 0 (OpenImages, GlaS); ``half`` grey value of 128 or more (CUB's
            averaged annotations); ``not_blue`` everything but the blue background (Oxford flowers); ``palette``
            neither 0 nor 255, with 255 ignored (PASCAL VOC).

    Returns:
        (H, W) uint8 0/1, and the same of the ignored pixels or None.

    Raises:
        ValueError: for an unknown format or an array that does not have the format's channels.

    >>> mask, ignore = decode_mask(np.array([[0, 15, 255]], np.uint8), 'palette')
    >>> mask.tolist(), ignore.tolist()
    ([[0, 1, 0]], [[0, 0, 1]])
    """
    if mask_format not in MASK_FORMATS:
        raise ValueError(f'mask_format must be one of {sorted(MASK_FORMATS)}, got {mask_format!r}')
    values = np.asarray(values)
    mask = MASK_FORMATS[mask_format](values).astype(np.uint8)
    ignore = (values == IGNORE_LABEL).astype(np.uint8) if mask_format == 'palette' else None
    return mask, ignore


def voc_palette(count: int = 256) -> np.ndarray:
    """(count, 3) uint8 RGB: PASCAL VOC's colours. The bits of an index go, from the lowest, to R, G, B, R, G, B …, each
    filling its channel from the highest bit.

    >>> voc_palette()[15].tolist()  # person
    [192, 128, 128]
    """
    index = np.arange(count)
    palette = np.zeros((count, 3), dtype=np.uint8)
    for step in range(8):
        for channel in range(3):
            palette[:, channel] |= ((index >> (3 * step + channel) & 1) << (7 - step)).astype(np.uint8)
    return palette
