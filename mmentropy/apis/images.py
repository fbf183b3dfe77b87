# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Anything that may hold images, as a stream of them; each is read by :func:`mmentropy.image_files.read_image`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

IMAGE_SUFFIXES = frozenset(
    ['.jpg', '.jpeg', '.jpe', '.png', '.bmp', '.gif', '.tif', '.tiff', '.webp', '.ppm', '.pgm', '.jp2']
)


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


def name_images(paths: Sequence[str | Path]) -> dict[str, Path]:
    """Name → file of all images of files and folders; every file has a name of its own.

    A name is the path below its folder, as :func:`iterate_images` gives it. Where two files would share one, the name
    of the folder that was given stands before it.

    Raises:
        FileNotFoundError: as :func:`iterate_images`.
        ValueError: if two files share a name even so.

    >>> for folder in ('left', 'right'):
    ...     Path(folder).mkdir()
    ...     Image.new('RGB', (4, 4)).save(f'{folder}/1.png')
    >>> sorted(name_images(['left', 'right']))
    ['left/1.png', 'right/1.png']
    """
    found = [(Path(path), name, source) for path in paths for name, source in iterate_images(path)]
    once = {source.resolve(): (path, name, source) for path, name, source in reversed(found)}
    counts = Counter(name for _, name, _ in once.values())
    named: dict[str, Path] = {}
    for path, name, source in reversed(once.values()):
        if counts[name] > 1:
            name = f'{(path if path.is_dir() else path.parent).resolve().name}/{name}'
        if name in named:
            raise ValueError(f'{named[name]} and {source} would both be called {name}; give a folder that holds both')
        named[name] = source
    return named


def count_images(images: object) -> int | None:
    """How many images there are, where that is known without consuming a generator."""
    if is_single(images):
        return 1
    if isinstance(images, str | Path):
        return sum(1 for _ in iterate_images(images))
    return len(images) if hasattr(images, '__len__') else None


def _suffixes() -> str:
    return ', '.join(sorted(IMAGE_SUFFIXES))
