# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Readers of the WSOL benchmark's four text files (Choe et al., CVPR 2020); any localisation set can be put in them.

==========================  =======================================================================================
file                        a row
==========================  =======================================================================================
``image_ids.txt``           ``path``
``class_labels.txt``        ``path,label``
``image_sizes.txt``         ``path,width,height``; the file may be empty (OpenImages)
``localization.txt``        ``path,x0,y0,x1,y1``, several rows an image; or ``path,mask,ignore``, several rows an image,
                            the ignore file in the image's first row only; the file may be empty (training splits)
==========================  =======================================================================================

Rows are split from the right, since only the path may hold commas; the last line may lack its newline. Every error
names file and line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mmentropy.datasets.readers.parsing import file_exists, join, read_text
from mmentropy.structures import MOST_CLASSES

T = TypeVar('T')
Box = tuple[float, float, float, float]

IMAGE_IDS, CLASS_LABELS, IMAGE_SIZES, LOCALIZATION = (
    'image_ids.txt',
    'class_labels.txt',
    'image_sizes.txt',
    'localization.txt',
)


@dataclass(slots=True)
class LocalizationEntry:
    """What ``localization.txt`` says of one image: boxes or mask files, never both.

    Attributes:
        boxes: x0 y0 x1 y1 in pixels of the original image.
        masks: paths of the instances' masks; their union is the object.
        ignore: path of the ignore region, or None.
        lines: the line of each box or mask, counted from 1, for error messages.
    """

    boxes: list[Box] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    ignore: str | None = None
    lines: list[int] = field(default_factory=list)


@dataclass
class WSOLMetadata:
    """The four files of one split, cross-checked by :func:`read_metadata`.

    Attributes:
        image_ids: in the file's order.
        labels: id → label, counted from 0.
        sizes: id → (width, height) in pixels; empty where the file is (mask sets).
        localization: id → boxes or masks; empty for training splits without them.
    """

    image_ids: list[str]
    labels: dict[str, int]
    sizes: dict[str, tuple[int, int]]
    localization: dict[str, LocalizationEntry]


def read_image_ids(path: str | Path) -> list[str]:
    """The ids in the file's order.

    Raises:
        FileNotFoundError: without the file.
        ValueError: for an id that stands twice, or an empty file.
    """
    seen: dict[str, int] = {}
    for line, row in _rows(path):
        if row in seen:
            raise ValueError(f'{path}:{line}: {row!r} stands already in line {seen[row]}; every id may stand once')
        seen[row] = line
    if not seen:
        raise ValueError(f'{path} holds no image id')
    return list(seen)


def read_class_labels(path: str | Path) -> dict[str, int]:
    """id → label (an integer from 0). Raises as :func:`read_image_sizes`."""

    def parse(fields: list[str]) -> int:
        label = int(fields[0])
        if not 0 <= label < MOST_CLASSES:
            raise ValueError
        return label

    return _read_table(path, 1, parse, f'path,label with a label from 0 to {MOST_CLASSES - 1}')


def read_image_sizes(path: str | Path) -> dict[str, tuple[int, int]]:
    """id → (width, height) in pixels.

    Raises:
        FileNotFoundError: without the file.
        ValueError: for a malformed row or an id that stands twice, naming file and line.
    """

    def parse(fields: list[str]) -> tuple[int, int]:
        width, height = int(fields[0]), int(fields[1])
        if width < 1 or height < 1:
            raise ValueError
        return width, height

    return _read_table(path, 2, parse, 'path,width,height with sizes of 1 or more')


def read_localization(path: str | Path) -> dict[str, LocalizationEntry]:
    """id → :class:`LocalizationEntry`, in the file's order; several rows an image are gathered.

    Raises:
        FileNotFoundError: without the file.
        ValueError: for a malformed row, an empty box, boxes and masks mixed in one file, or an ignore file outside the
            image's first row, naming file and line.
    """
    entries: dict[str, LocalizationEntry] = {}
    kinds: set[str] = set()
    for line, row in _rows(path):
        image_id, box = _parse_box(row)
        fields = row.rsplit(',', 2)
        if box is None and len(fields) != 3:
            raise ValueError(f'{path}:{line}: expected path,x0,y0,x1,y1 or path,mask,ignore, found {row!r}')
        kinds.add('mask' if box is None else 'box')
        if len(kinds) == 2:
            raise ValueError(f'{path}:{line}: boxes and masks are mixed in one file, found {row!r}; keep to one kind')
        if box is not None:
            if not (all(map(math.isfinite, box)) and box[0] <= box[2] and box[1] <= box[3]):
                raise ValueError(f'{path}:{line}: the box needs x0 <= x1 and y0 <= y1, found {row!r}')
            entry = entries.setdefault(image_id, LocalizationEntry())
            entry.boxes.append(box)
        else:
            image_id, mask, ignore = (text.strip() for text in fields)
            if not image_id or not mask:
                raise ValueError(f'{path}:{line}: expected path,mask,ignore, found {row!r}')
            entry = entries.setdefault(image_id, LocalizationEntry())
            if ignore and entry.masks:
                raise ValueError(f'{path}:{line}: the ignore file belongs in the first row of its image, found {row!r}')
            entry.masks.append(mask)
            entry.ignore = ignore or entry.ignore
        entry.lines.append(line)
    return entries


def read_metadata(folder: str | Path) -> WSOLMetadata:
    """Read the four files of a split's folder and check them against each other.

    ``image_sizes.txt`` and ``localization.txt`` may be missing or empty. A box must lie within its image where the size
    is known.

    Raises:
        FileNotFoundError: without ``image_ids.txt`` or ``class_labels.txt``.
        ValueError: for a malformed row, an image without label or (in a file that is not empty) without size or
            localisation, a row for an unknown image, or a box outside its image, naming file and line.
    """
    paths = {name: join(str(folder), name) for name in (IMAGE_IDS, CLASS_LABELS, IMAGE_SIZES, LOCALIZATION)}
    ids = read_image_ids(paths[IMAGE_IDS])
    labels = read_class_labels(paths[CLASS_LABELS])
    sizes = read_image_sizes(paths[IMAGE_SIZES]) if file_exists(paths[IMAGE_SIZES]) else {}
    places = read_localization(paths[LOCALIZATION]) if file_exists(paths[LOCALIZATION]) else {}
    known = set(ids)
    tables: tuple[dict, ...] = (labels, sizes, places)
    for name, table in zip((CLASS_LABELS, IMAGE_SIZES, LOCALIZATION), tables):
        if not table and name != CLASS_LABELS:
            continue
        for image_id in ids:
            if image_id not in table:
                raise ValueError(f'{paths[name]} has no row for {image_id!r} of {paths[IMAGE_IDS]}')
        for image_id in table:
            if image_id not in known:
                raise ValueError(f'{paths[name]} has a row for {image_id!r}, which is not in {paths[IMAGE_IDS]}')
    for image_id, place in places.items():
        if image_id not in sizes:
            continue
        width, height = sizes[image_id]
        for box, line in zip(place.boxes, place.lines):
            if box[0] < 0 or box[1] < 0 or box[2] > width or box[3] > height:
                raise ValueError(
                    f'{paths[LOCALIZATION]}:{line}: the box {box} lies outside {image_id!r}, which is {width}×{height}'
                )
    # One string an image, where each file had its own: a fifth of the memory.
    labels, sizes, places = (table and {image_id: table[image_id] for image_id in ids} for table in tables)
    return WSOLMetadata(ids, labels, sizes, places)


def metadata_entries(data: WSOLMetadata, image_root: str, mask_root: str = '') -> Iterator[dict]:
    """Entries of :class:`~mmentropy.datasets.readers.base.LocalizationDataset` from a split's metadata, in the order of
    ``image_ids.txt``."""
    return (metadata_entry(data, index, image_root, mask_root) for index in range(len(data.image_ids)))


def metadata_entry(data: WSOLMetadata, index: int, image_root: str, mask_root: str = '') -> dict:
    """One of them, counted from 0."""
    image_id = data.image_ids[index]
    entry = dict(img_path=join(image_root, image_id), gt_label=data.labels[image_id], row=index + 1)
    if image_id in data.sizes:
        entry['size'] = list(data.sizes[image_id])
    place = data.localization.get(image_id)
    if place is not None and place.masks:
        entry['mask_paths'] = [join(mask_root, mask) for mask in place.masks]
        if place.ignore:
            entry['ignore_path'] = join(mask_root, place.ignore)
    elif place is not None:
        entry['gt_bboxes'] = [list(box) for box in place.boxes]
    return entry


def _rows(path: str | Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every row that is not blank; lines count from 1."""
    text = read_text(str(path), f'the WSOL metadata of a split are {IMAGE_IDS}, {CLASS_LABELS}, …')
    for line, row in enumerate(text.split('\n'), start=1):
        if row.strip():
            yield line, row.strip()


def _read_table(path: str | Path, width: int, parse: Callable[[list[str]], T], expected: str) -> dict[str, T]:
    """id → ``parse`` of the last ``width`` fields, the same for labels and sizes."""
    table: dict[str, T] = {}
    for line, row in _rows(path):
        image_id, *fields = row.rsplit(',', width)
        try:
            if len(fields) != width or not image_id.strip():
                raise ValueError
            value = parse(fields)
        except ValueError:
            raise ValueError(f'{path}:{line}: expected {expected}, found {row!r}') from None
        if image_id.strip() in table:
            raise ValueError(f'{path}:{line}: {image_id.strip()!r} has a row already; every id may stand once')
        table[image_id.strip()] = value
    return table


def _parse_box(row: str) -> tuple[str, Box | None]:
    """(id, box), or ('', None) where the row does not end in four numbers."""
    image_id, *fields = row.rsplit(',', 4)
    if len(fields) != 4 or not image_id.strip():
        return '', None
    try:
        x0, y0, x1, y1 = (float(text) for text in fields)
    except ValueError:
        return '', None
    return image_id.strip(), (x0, y0, x1, y1)
