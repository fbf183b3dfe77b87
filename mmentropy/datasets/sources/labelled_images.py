# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A folder of images and a CSV table of their labels, seen image by image."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmentropy.datasets.label_png import read_label_png
from mmentropy.datasets.readers.parsing import read_text
from mmentropy.registry import SOURCES

from .image_source import ImageSource, key_of, read_classes

#: The ``split`` that takes every row.
ALL = 'all'


class Row(NamedTuple):
    """One image of a table: line, path, names of its classes, and the list that it is of (empty: none is told)."""

    line: int
    image: str
    names: tuple[str, ...]
    split: str


@SOURCES.register_module()
@dataclass(frozen=True)
class LabelledImages(ImageSource):
    """A table with the columns ``image`` and ``label``, and ``split`` if the images are of several lists.

    ::

        root                         image,label,split
        ├── labels.csv               photos/1.jpg,cat;dog,train
        ├── photos/1.jpg             photos/2.jpg,cat,val
        └── masks/photos/1.png       if there are any

    A mask has one channel: eight bits, or sixteen where a set has more than 254 classes; 0 is the background, class c
    is c + 1, and the highest value, 255 or 65535, is left out. Without masks nothing is measured.

    Args:
        root: see the tree.
        split: rows that have this in their column; ``all`` takes every row.
        labels_file: the table, below ``root``: UTF-8, commas between columns, semicolons between labels.
        class_names: the names in order, or a text file below ``root`` with one a line; by default those of the whole
            table, sorted.
        masks: folder of ``<image>.png`` below ``root``.
        limit: only the first so many images.

    >>> from mmentropy.safe_files import write_whole
    >>> write_whole('own/labels.csv', 'image,label\\nphotos/1.jpg,cat;dog\\nphotos/2.jpg,cat\\n')
    >>> source = LabelledImages('own', split='all')
    >>> source.ids(), source.classes, source.labels('photos__1').tolist()
    (['photos__1', 'photos__2'], ('cat', 'dog'), [0, 1])
    """

    root: str
    split: str = 'train'
    labels_file: str = 'labels.csv'
    class_names: str | Sequence[str] | None = None
    masks: str | None = None
    limit: int | None = None

    @property
    def _table(self) -> Path:
        return Path(self.root, self.labels_file)

    @cached_property
    def _rows(self) -> dict[str, Row]:
        """Id of an image → its row, of the whole table."""
        rows: dict[str, Row] = {}
        for row in read_table(self._table):
            try:
                key = key_of(row.image)
            except ValueError as error:
                raise ValueError(f'{self._table}:{row.line}: {error}') from None
            if key in rows:
                other = rows[key]
                both = f'and {other.image!r} would both be called {key!r}'
                what = 'stands twice' if other.image == row.image else both
                raise ValueError(f'{self._table}:{row.line}: the image {row.image!r} {what} (line {other.line})')
            rows[key] = row
        known = None if self.class_names is None else set(read_classes(self.class_names, self.root))
        for row in rows.values():
            unknown = [name for name in row.names if known is not None and name not in known]
            if unknown:
                raise ValueError(f'{self._table}:{row.line}: {unknown[0]!r} is none of the {len(known or ())} classes')
        return rows

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; those of the table are sorted."""
        if self.class_names is not None:
            return read_classes(self.class_names, self.root)
        return tuple(sorted({name for row in self._rows.values() for name in row.names}))

    @cached_property
    def _label_of(self) -> dict[str, int]:
        return {name: label for label, name in enumerate(self.classes)}

    def keys(self) -> list[str]:
        """Ids of the images of the split, in the order of the table.

        Raises:
            ValueError: if no row is of the split.
        """
        found = [key for key, row in self._rows.items() if self.split in (ALL, row.split)]
        if not found:
            there = sorted({row.split for row in self._rows.values()} - {''})
            told = f'its column split has {", ".join(there)}' if there else f'it has no column split, so split={ALL!r}'
            raise ValueError(f'{self._table}: no image of the split {self.split!r}; {told}')
        return found

    def _row(self, key: str) -> Row:
        if key not in self._rows:
            raise ValueError(f'{self._table}: no image {key!r} in it')
        return self._rows[key]

    def image_path(self, key: str) -> Path:
        """As the table has it, below ``root``."""
        return Path(self.root, self._row(key).image)

    def labels(self, key: str) -> np.ndarray:
        """(K,) int64 classes from 0; ValueError without any."""
        row = self._row(key)
        if not row.names:
            raise ValueError(f'{self._table}:{row.line}: {row.image!r} has no label')
        return np.array(sorted(self._label_of[name] for name in row.names), np.int64)

    def labels_from(self, key: str) -> list:
        """The names, and their places among the classes."""
        return [[name, self._label_of[name]] for name in sorted(self._row(key).names)]

    @property
    def has_truth(self) -> bool:
        """Whether a folder of masks is named."""
        return self.masks is not None

    def truth_from(self, key: str) -> Path | None:
        """The mask's file, whether there is one or not; None where no folder is named."""
        return None if self.masks is None else Path(self.root, self.masks, self._row(key).image).with_suffix('.png')

    def mask(self, key: str, size: tuple[int, int] | None = None) -> np.ndarray | None:
        """(H, W) true classes; None without the file."""
        path = self.truth_from(key)
        if path is None or not path.is_file():
            return None
        return read_label_png(path, self.num_classes + 1, size)


def read_table(path: Path) -> list[Row]:
    """The rows of a table of labels.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for other columns, a row without an image, a label that stands twice in a row, or no row at all.
    """
    text = read_text(str(path), 'it holds the labels: a column image and a column label')
    lines = csv.reader(text.split('\n'), strict=True)
    try:
        head = [name.strip() for name in next(lines, [])]
        if not {'image', 'label'} <= set(head) or len(set(head)) < len(head):
            raise ValueError(f'{path}:1: found the columns {head}; a table has image and label, and split if needed')
        rows = [_row(head, fields, f'{path}:{lines.line_num}', lines.line_num) for fields in lines if fields]
    except csv.Error as error:
        raise ValueError(f'{path}:{lines.line_num}: no row of a CSV file ({error})') from None
    if not rows:
        raise ValueError(f'{path}: no image in it')
    return rows


def _row(head: list[str], fields: list[str], where: str, line: int) -> Row:
    if len(fields) != len(head):
        told = f'{len(fields)} columns, the first line has {len(head)}'
        raise ValueError(f'{where}: {told}; a name with a comma stands in double quotes')
    cells = {name: cell.strip() for name, cell in zip(head, fields)}
    image, names = cells['image'], [name.strip() for name in cells['label'].split(';')]
    if not image:
        raise ValueError(f'{where}: the row names no image')
    names = [] if names == [''] else names
    if '' in names:
        raise ValueError(f'{where}: {image!r} has an empty label between two semicolons')
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'{where}: {image!r} has the label {twice!r} twice')
    return Row(line, image, tuple(names), cells.get('split', ''))
