# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Anything that may be an image, as (H, W, 3) uint8 RGB; anything that may hold several, as a stream."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

IMAGE_SUFFIXES = frozenset(
    ['.jpg', '.jpeg', '.jpe', '.png', '.bmp', '.gif', '.tif', '.tiff', '.webp', '.ppm', '.pgm', '.jp2']
)
#: Larger images are refused: the map would be no finer, and decoding one takes gigabytes.
MAX_PIXELS = 250_000_000


def read_image(source: str | Path | np.ndarray | Image.Image | Any) -> np.ndarray:
    """One image as (H, W, 3) uint8, RGB.

    Files of any format that Pillow reads: turned upright by their EXIF tag, the first frame of an animation, CMYK and
    palettes converted, transparency over white, 16 bits brought to 8. Arrays are (H, W), (H, W, 1), (H, W, 3) or
    (H, W, 4), in uint8, uint16, bool or floats in [0, 1]; tensors are (3, H, W).

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: in one sentence, when it is no image or cannot be read.
    """
    if isinstance(source, str | Path):
        return _read_file(Path(source))
    if isinstance(source, Image.Image):
        return _from_pillow(source, 'image')
    if hasattr(source, 'detach'):  # a tensor; torch need not be imported here
        source = source.detach().cpu().numpy()
        source = source.transpose(1, 2, 0) if source.ndim == 3 else source
    if isinstance(source, np.ndarray):
        return _from_array(source)
    raise ValueError(f'an image is a path, an array, a tensor or a PIL image, got {type(source).__name__}')


def _read_file(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such image file')
    if path.stat().st_size == 0:
        raise ValueError(f'{path}: the file is empty (0 bytes)')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # MAX_PIXELS decides
            with Image.open(path) as image:
                return _from_pillow(image, str(path))
    except Image.DecompressionBombError:
        raise ValueError(f'{path}: more than {MAX_PIXELS / 1e6:.0f} megapixels; scale the image down first') from None
    except UnidentifiedImageError:
        raise ValueError(f'{path}: not an image in a format that Pillow reads') from None
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(f'{path}: '):
            raise  # our own sentence
        # Pillow's decoders raise what they please on damaged files: OSError, SyntaxError, bare ValueErrors, ...
        raise ValueError(f'{path}: the image cannot be decoded ({error})') from None


def _from_pillow(image: Image.Image, name: str) -> np.ndarray:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(
            f'{name}: {width * height / 1e6:.0f} megapixels, more than {MAX_PIXELS / 1e6:.0f}; scale it down'
        )
    image = ImageOps.exif_transpose(image)
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


def is_single(images: object) -> bool:
    """Whether the input is one image rather than a folder, a batch or a stream of them."""
    if isinstance(images, str | Path):
        return not Path(images).is_dir()
    if isinstance(images, Image.Image):
        return True
    return hasattr(images, 'ndim') and images.ndim < 4


def iterate_images(images: object) -> Iterator[tuple[str, Any]]:
    """(name, source) of every image of a path, folder, array, batch, PIL image, or any iterable of these; lazily.

    A folder gives its image files (by suffix, sub-folders included) in order of their names. What is no file is called
    by its running number.

    Raises:
        FileNotFoundError: for a path that does not exist, or a folder without images.
    """
    if isinstance(images, str | Path):
        path = Path(images)
        if path.is_dir():
            files = sorted(p for p in path.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            if not files:
                raise FileNotFoundError(f'{path}: no image files in this folder; known suffixes: {_suffixes()}')
            yield from ((str(p.relative_to(path)), p) for p in files)
        else:
            yield path.name, path
    elif is_single(images):
        yield '0', images
    elif isinstance(images, Iterable):
        for number, item in enumerate(images):
            for name, source in iterate_images(item):
                yield (str(number) if name == '0' and source is item else name), source
    else:
        raise ValueError(f'images are a path, a folder, arrays or PIL images, got {type(images).__name__}')


def count_images(images: object) -> int | None:
    """How many images there are, where that is known without consuming a generator."""
    if is_single(images):
        return 1
    if isinstance(images, str | Path):
        return sum(1 for _ in iterate_images(images))
    return len(images) if hasattr(images, '__len__') else None


def _suffixes() -> str:
    return ', '.join(sorted(IMAGE_SUFFIXES))
