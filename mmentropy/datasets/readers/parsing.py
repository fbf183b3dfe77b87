# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Reading of index files for every data set: rows with line numbers, one-sentence errors, any mmengine file backend."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree


def join(root: str, *parts: str) -> str:
    """A path below a directory or an address; mmengine's HTTP backend cannot join, so addresses are joined here."""
    return '/'.join((root.rstrip('/'), *parts)) if '://' in root else os.path.join(root, *parts)


def _is_local(path: str, backend_args: dict | None) -> bool:
    """Whether it is a plain file of this system, for which mmengine is not loaded."""
    return not backend_args and '://' not in path


def file_exists(path: str, backend_args: dict | None = None) -> bool:
    """Whether there is such a file; a backend that cannot tell (HTTP) is asked for the file itself."""
    if _is_local(path, backend_args):
        return os.path.isfile(path)
    from mmengine import fileio

    try:
        return fileio.isfile(path, backend_args=backend_args)
    except (AttributeError, NotImplementedError):
        try:
            read_bytes(path, backend_args=backend_args)
        except FileNotFoundError:
            return False
        return True


def read_text(path: str, hint: str = '', backend_args: dict | None = None) -> str:
    """The UTF-8 text of a file, byte order mark and carriage returns removed.

    Args:
        path: local or of any mmengine file backend.
        hint: what to do when it is missing, the end of the error's sentence.
        backend_args: of ``mmengine.fileio.get``.

    Raises:
        FileNotFoundError: if it does not exist or is a directory.
        ValueError: if it is not UTF-8, naming the line.
    """
    data = read_bytes(path, hint, backend_args)
    try:
        text = data.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b'\n') + 1
        raise ValueError(f'{path}:{line}: byte {data[error.start]:#04x} is not UTF-8; convert the file') from None
    return text.replace('\r\n', '\n')


def read_bytes(path: str, hint: str = '', backend_args: dict | None = None) -> bytes:
    """The bytes of a file; raises FileNotFoundError in one sentence with ``hint`` when it is missing or a directory."""
    try:
        if _is_local(path, backend_args):
            with open(path, 'rb') as file:
                return file.read()
        from mmengine import fileio

        return fileio.get(path, backend_args=backend_args)
    except IsADirectoryError:
        raise FileNotFoundError(f'{path} is a directory, a file is expected{hint and "; " + hint}') from None
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f'{path} does not exist{hint and "; " + hint}') from None
    except OSError as error:  # HTTPError and URLError are OSErrors too
        raise FileNotFoundError(f'{path} cannot be read ({error}){hint and "; " + hint}') from None


def read_rows(
    path: str,
    columns: int | Sequence[int],
    sep: str | None = None,
    layout: str = '',
    hint: str = '',
    backend_args: dict | None = None,
    optional: int = 0,
) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of each row that is not blank; lines count from 1.

    Args:
        path: of the file.
        columns: allowed number(s) of fields.
        sep: separator; None is any white space.
        layout: how a row should look, for the error.
        hint: see :func:`read_text`.
        backend_args: see :func:`read_text`.
        optional: how many of the last fields may be empty.

    Raises:
        ValueError: for a row with another number of fields or an empty field, or a file without rows.
    """
    allowed = {columns} if isinstance(columns, int) else set(columns)
    line = 0
    empty = True
    for line, row in enumerate(read_text(path, hint, backend_args).split('\n'), start=1):
        if not row or row.isspace():
            continue
        empty = False
        fields = row.split() if sep is None else [field.strip() for field in row.split(sep)]
        if len(fields) not in allowed or '' in fields[: len(fields) - optional]:
            wanted = layout or f'{" or ".join(map(str, sorted(allowed)))} columns'
            raise ValueError(f'{path}:{line}: expected {wanted}, found {row.strip()[:120]!r}')
        yield line, fields
    if empty:
        raise ValueError(f'{path} holds no row; it is empty or was cut off, fetch it again')


def first_names(codes: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """A short name for each code: the first of its names; where two codes share one, with the code behind it.

    Args:
        codes: WordNet's, say.
        names: code → names between commas; a code without names keeps itself.

    >>> first_names(['n02012849', 'n03126707', 'n1'], {'n02012849': 'crane', 'n03126707': 'crane, machine'})
    ['crane (n02012849)', 'crane (n03126707)', 'n1']
    """
    short = [names.get(code, '').partition(',')[0].strip() or code for code in codes]
    return [name if short.count(name) == 1 else f'{name} ({code})' for name, code in zip(short, codes)]


def to_int(text: str, where: str, what: str, low: int | None = None, high: int | None = None) -> int:
    """An integer in [low, high), or a ValueError that starts with ``where``."""
    try:
        value = int(text)
    except ValueError:
        raise ValueError(f'{where}: {what} must be an integer, found {text!r}') from None
    if (low is not None and value < low) or (high is not None and value >= high):
        limits = f'{low if low is not None else "…"} to {high - 1 if high is not None else "…"}'
        raise ValueError(f'{where}: {what} must be in {limits}, found {value}')
    return value


def to_box(fields: Sequence[str], where: str, corners: bool = True) -> list[float]:
    """A box of four finite numbers, or a ValueError that starts with ``where``.

    Args:
        fields: x0 y0 x1 y1, or x y width height.
        where: file and line.
        corners: False for x y width height, which come back as x0 y0 x1 y1 = x, y, x + width, y + height.
    """
    try:
        box = [float(text) for text in fields]
    except ValueError:
        raise ValueError(f'{where}: a box needs four numbers, found {list(fields)}') from None
    if not corners and len(box) == 4:
        box = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
    check_box(box, where)
    return box


def check_box(box: Sequence[float], where: str, size: tuple[int, int] | None = None, slack: float = 1.0) -> None:
    """Refuse a box that is not finite, is turned round, or lies outside its image.

    Args:
        box: x0 y0 x1 y1, pixels.
        where: start of the error's sentence, file and line.
        size: (width, height) of the image where it is known.
        slack: pixels by which a box may stick out; the sets disagree on whether x1 is a pixel or an edge.
    """
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise ValueError(f'{where}: a box needs four finite numbers, found {list(box)}')
    x0, y0, x1, y1 = box
    if x1 < x0 or y1 < y0:
        raise ValueError(f'{where}: a box needs x0 <= x1 and y0 <= y1, found {list(box)}')
    width, height = size or (math.inf, math.inf)
    if x0 < -slack or y0 < -slack or x1 > width + slack or y1 > height + slack:
        of = f', which is {width}×{height}' if size else ''
        raise ValueError(f'{where}: the box {list(box)} lies outside its image{of}')


@dataclass
class XMLObject:
    """One ``<object>`` of a PASCAL VOC style annotation; the box as the file has it."""

    name: str
    box: list[float]
    difficult: bool


def read_voc_xml(
    path: str, hint: str = '', backend_args: dict | None = None
) -> tuple[tuple[int, int] | None, list[XMLObject]]:
    """The image's (width, height), None where the file has none, and the objects of a PASCAL VOC style annotation.

    VOC and ILSVRC share the format. Element order is free: VOC 2012 has boxes that begin with ``xmax``.

    Raises:
        FileNotFoundError: as :func:`read_bytes`.
        ValueError: if the file is no XML (with the line), or an object lacks its name or a well-formed box.
    """
    try:
        root = ElementTree.fromstring(read_bytes(path, hint, backend_args))
    except ElementTree.ParseError as error:
        raise ValueError(f'{path}:{error.position[0]}: the annotation is no well-formed XML ({error})') from None
    except (LookupError, ValueError) as error:  # an encoding that does not exist, or that the parser does not know
        raise ValueError(f'{path}:1: the annotation is no well-formed XML ({error})') from None
    size = None
    if root.findtext('size/width') is not None:
        texts = (root.findtext('size/width') or '', root.findtext('size/height') or '')
        width, height = (to_int(text, path, 'the size', 0) for text in texts)
        size = (width, height) if width and height else None  # some files of ILSVRC say 0
    objects = []
    for number, element in enumerate(root.iter('object'), start=1):
        where = f'{path}, object {number}'
        name = (element.findtext('name') or '').strip()
        box = element.find('bndbox')
        if not name or box is None:
            raise ValueError(f'{where}: name and bndbox are needed')
        corners = [(box.findtext(side) or '').strip() for side in ('xmin', 'ymin', 'xmax', 'ymax')]
        objects.append(XMLObject(name, to_box(corners, where), (element.findtext('difficult') or '0').strip() == '1'))
    return size, objects
