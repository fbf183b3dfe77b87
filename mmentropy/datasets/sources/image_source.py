# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What a pipeline asks of a data set: a list of images, the classes in each, and perhaps true masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mmentropy.datasets.readers.parsing import read_text
from mmentropy.image_files import read_image
from mmentropy.registry import SOURCES

#: A file whose content counts, a JSON value that counts itself, or a list of both.
Evidence = Any


class ImageSource(ABC):
    """Images with labels and, where the set has some, true masks; a subclass is a frozen dataclass of its settings.

    Pixels of a true mask are 0 for the background, class + 1, and
    :func:`~mmentropy.ops.seeding.confusion.ignore_value` where nothing is counted.

    Attributes:
        root: folder that everything is below.
        split: the list of images that labels and masks are asked of.
        limit: only the first so many images of a list.
    """

    root: str
    split: str
    limit: int | None

    # --- what a subclass provides -----------------------------------------------------------------------------------

    @abstractmethod
    def keys(self) -> Sequence[str]:
        """The ids of the split's images: plain names of files, without a suffix."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, without background."""

    @abstractmethod
    def image_path(self, key: str) -> Path:
        """Where an image lies."""

    @abstractmethod
    def labels(self, key: str) -> np.ndarray:
        """(K,) int64 classes from 0 in an image, increasing; ValueError if there is none."""

    @abstractmethod
    def labels_from(self, key: str) -> Evidence:
        """What :meth:`labels` reads: if that has changed, so may they."""

    @abstractmethod
    def mask(self, key: str, size: tuple[int, int] | None = None) -> np.ndarray | None:
        """(H, W) true classes of an image, None if the set has no mask of it; ValueError for another size."""

    @abstractmethod
    def truth_from(self, key: str) -> Evidence:
        """What :meth:`mask` reads."""

    # --- what all share ---------------------------------------------------------------------------------------------

    @property
    def num_classes(self) -> int:
        """Without background."""
        return len(self.classes)

    @property
    def has_truth(self) -> bool:
        """Whether there may be true masks at all."""
        return True

    def on(self, split: str) -> ImageSource:
        """The same set on another of its lists."""
        if split == self.split:
            return self
        if split not in self._others:
            self._others[split] = replace(self, split=split)  # type: ignore[type-var]
        return self._others[split]

    @cached_property
    def _others(self) -> dict[str, ImageSource]:
        return {}

    def ids(self, split: str | None = None) -> list[str]:
        """The image ids of a list, of this one by default."""
        return list(self.on(split or self.split).keys()[: self.limit])

    def image(self, key: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB, as stored, as the masks are; raises as :func:`mmentropy.image_files.read_image`."""
        return read_image(self.image_path(key), exif=False)

    def image_number(self, key: str) -> int | str:
        """What an exported file calls an image; digits become a number, as COCO's ids are."""
        return int(key) if key.isdigit() else key

    def category_id(self, label: int) -> int:
        """What an exported file calls a class."""
        return label + 1

    def settings(self, **changes: Any) -> dict[str, Any]:
        """What :func:`build_source` makes the same source from.

        >>> from mmentropy.datasets.sources import VOCFolder
        >>> VOCFolder('VOC2012', limit=3).settings(split='val')['split']
        'val'
        """
        own = {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]
        return {'type': type(self).__name__, **own, **changes}

    def identity(self) -> list[Any]:
        """What decides a pipeline's outputs beside the files' content."""
        return [self.split, self.num_classes, self.limit, type(self).__name__]

    def __getstate__(self) -> dict[str, Any]:
        """Settings alone: a process that works for another one reads its own index."""
        return {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]


def build_source(settings: Mapping[str, Any]) -> ImageSource:
    """The source of a config's ``data``; without a ``type`` it is a folder in VOC's layout.

    Raises:
        ValueError: for a type or an option that there is not.

    >>> build_source(dict(root='data/VOC2012')).num_classes
    20
    """
    options = dict(settings)
    kind = options.pop('type', 'VOCFolder')
    cls = SOURCES.get(kind)
    if cls is None:
        raise ValueError(f'data: there is no source {kind!r}; there are {", ".join(sorted(SOURCES.module_dict))}')
    known = [one.name for one in fields(cls)]
    for name in options:
        if name not in known:
            raise ValueError(f'data: {kind} has no option {name!r}; it has {", ".join(known)}')
    if 'root' not in options:
        raise ValueError(f'data: {kind} needs root, the folder of the set (or --data-root)')
    return cls(**options)


def key_of(path: str) -> str:
    """An image's id from its path below a folder: without the suffix, folders joined by two underscores.

    Raises:
        ValueError: for a path that does not stay below the folder.

    >>> key_of('cats/old/1.jpg')
    'cats__old__1'
    """
    parts = PurePosixPath(path).parts
    if not parts or '..' in parts or PurePosixPath(path).is_absolute() or '\\' in path or '\0' in path:
        raise ValueError(f'{path!r} is no path below the folder of the images')
    return '__'.join([*parts[:-1], PurePosixPath(parts[-1]).stem])


def read_classes(classes: str | Sequence[str], root: str) -> tuple[str, ...]:
    """Names of classes in order: a list of them, or a text file with one a line, or ADE's table of objects.

    Args:
        classes: the names, or the file's path below ``root``.
        root: of the data set.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a name that stands twice, or none at all.

    >>> from mmentropy.safe_files import write_whole
    >>> write_whole('names.txt', 'cat\\nsmall dog\\n')
    >>> read_classes('names.txt', root='.')
    ('cat', 'small dog')
    """
    where = 'classes'
    if isinstance(classes, str):
        where = str(Path(root, classes))
        rows = [line.strip() for line in read_text(where, 'it names the classes, one a line').split('\n')]
        if rows and rows[0].split()[:1] == ['Idx']:  # ADE: Idx Ratio Train Val Stuff Name
            rows = _first_of_synonyms([row.rpartition('\t')[2].strip() for row in rows[1:] if row])
        names = [row for row in rows if row]
    else:
        names = [str(name) for name in classes]
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        first = names.index(twice)
        raise ValueError(
            f'{where}: the class {twice!r} stands twice, as number {first + 1} and {names.index(twice, first + 1) + 1}'
        )
    if not names:
        raise ValueError(f'{where}: no class in it; write one name a line')
    return tuple(names)


def _first_of_synonyms(rows: list[str]) -> list[str]:
    """``wall`` of ``wall, side``; the whole row where two begin alike."""
    short = [row.partition(',')[0].strip() for row in rows]
    return [name if short.count(name) == 1 else row for name, row in zip(short, rows)]
