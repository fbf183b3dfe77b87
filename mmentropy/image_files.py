# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The door through which images come in: anything that may be an image, as (H, W, 3) uint8 RGB."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

#: Larger images are refused: the map would be no finer, and decoding one takes gigabytes.
MAX_PIXELS = 250_000_000


def read_image(source: str | Path | np.ndarray | Image.Image | Any, exif: bool = True) -> np.ndarray:
    """One image as (H, W, 3) uint8, RGB.

    Files of any format that Pillow reads: the first frame of an animation, CMYK and palettes converted, transparency
    over white, 16 bits brought to 8. Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), in uint8, uint16, bool or
    floats in [0, 1]; tensors are (3, H, W).

    >>> camera = Image.Exif()
    >>> camera[0x0112] = 6  # to be turned by 90 degrees
    >>> stored = Image.new('RGB', (40, 20))
    >>> stored.info['exif'] = camera.tobytes()
    >>> read_image(stored).shape, read_image(stored, exif=False).shape
    ((40, 20, 3), (20, 40, 3))

    Args:
        source: path, array, tensor or PIL image.
        exif: turn it upright by the camera's EXIF orientation. False leaves the pixels as they are stored, which is
            what the boxes and masks of data sets refer to; say so wherever an image meets its annotation.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: in one sentence, when it is no image or cannot be read.
    """
    if isinstance(source, str | Path):
        return _read_file(Path(source), exif)
    if isinstance(source, Image.Image):
        return _from_pillow(source, 'image', exif)
    if hasattr(source, 'detach'):  # a tensor; torch need not be imported here
        source = source.detach().cpu().numpy()
        source = source.transpose(1, 2, 0) if source.ndim == 3 else source
    if isinstance(source, np.ndarray):
        return _from_array(source)
    raise ValueError(f'an image is a path, an array, a tensor or a PIL image, got {type(source).__name__}')


def _read_file(path: Path, exif: bool) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such image file')
    if path.stat().st_size == 0:
        raise ValueError(f'{path}: the file is empty (0 bytes)')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # MAX_PIXELS decides
            with Image.open(path) as image:
                return _from_pillow(image, str(path), exif)
    except Image.DecompressionBombError:
        most = min(MAX_PIXELS, 2 * (Image.MAX_IMAGE_PIXELS or MAX_PIXELS))  # Pillow's own limit may be lower
        raise ValueError(f'{path}: more than {most / 1e6:.0f} megapixels; scale the image down first') from None
    except UnidentifiedImageError:
        raise ValueError(f'{path}: not an image in a format that Pillow reads') from None
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(f'{path}: '):
            raise  # our own sentence
        # Pillow's decoders raise what they please on damaged files: OSError, SyntaxError, bare ValueErrors, ...
        raise ValueError(f'{path}: the image cannot be decoded ({error})') from None


def _from_pillow(image: Image.Image, name: str, exif: bool) -> np.ndarray:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(
            f'{name}: {width * height / 1e6:.0f} megapixels, more than {MAX_PIXELS / 1e6:.0f}; scale it down'
        )
    image = ImageOps.exif_transpose(image) if exif else image
    if image.mode == 'F':
        raise ValueError(f'{name}: floating-point pixels have no agreed range; save the image with 8 or 16 bits')
    if image.mode.startswith('I'):  # 16 bits, also kept in 32
        return _from_array(np.clip(np.asarray(image), 0, 65535).astype(np.uint16))
    if image.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') or 'transparency' in image.info:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    return np.asarray(image.convert('RGB')).copy()


def _from_array(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        raise ValueError(f'an image array is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {image.shape}')
    if image.dtype == np.uint16:
        image = np.round(image / 257.0).astype(np.uint8)
    elif image.dtype == bool:
        image = image.astype(np.uint8) * 255
    elif np.issubdtype(image.dtype, np.floating):
        if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
            raise ValueError('an image array of floats lies in [0, 1]; divide by 255, or pass uint8')
        image = np.round(image * 255).astype(np.uint8)
    elif image.dtype != np.uint8:
        raise ValueError(f'an image array is uint8, uint16, bool or floats in [0, 1], got {image.dtype}')
    if image.shape[2] == 4:
        alpha = image[..., 3:] / 255.0
        image = np.round(image[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else np.ascontiguousarray(image)
