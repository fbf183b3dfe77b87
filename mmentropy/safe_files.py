# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Files that are written whole or not at all, and that are read with one sentence of complaint at most.

Reading: npy, npz and JSON files that anybody may have written or damaged give values, or one sentence with the path.
numpy, zipfile and json raise some twenty kinds of exceptions on damaged files, ``tokenize.TokenError``, ``zlib.error``
and ``RecursionError`` among them. Nothing is executed: pickled objects are refused.

Writing: under another name, flushed to the disk, renamed.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import platform
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

try:  # where arrays are rebuilt when a pickle is read
    from numpy._core import multiarray as multiarray
except ImportError:  # numpy before 1.26
    from numpy.core import multiarray as multiarray

#: Ending of unfinished files.
PARTIAL = '.part'
#: What arrays of one file may take in memory, unless the reader says otherwise.
MOST_BYTES = 4 * 2**30
#: How an npy file of version 1 begins.
NPY_1 = b'\x93NUMPY\x01\x00'
#: Bytes of a file's name on all common file systems.
LONGEST_NAME = 255
#: What the system says where no more can be written: disk, quota, limit on the size of a file.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ADVICE = 'start again, finished files are kept'


class DiskFullError(OSError):
    """No space left: unlike a bad image, this ends the run."""


@contextmanager
def written_whole(path: str | Path, advice: str = ADVICE, flush: bool = True) -> Iterator[Path]:
    """Another name to write a file under, which becomes ``path`` at the end of the block, or goes if the block fails.

    Whoever reads ``path`` finds it whole, in its earlier state, or not at all, whenever this process is killed. The
    other name ends with ``.part``, not with the suffix of ``path``: name a writer's format where it goes by the suffix.

    Args:
        path: the file; its folder is made where needed.
        advice: what to do when the disk is full, the end of the error's sentence.
        flush: wait until the disk has it, so that even a power failure leaves no empty file. Without it is for a
            million small files whose reader notices a damaged one.

    Raises:
        DiskFullError: if there is no space left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        yield partial
        if flush:
            with open(partial, 'rb+') as file:
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL:
            raise DiskFullError(
                f'{path} could not be written, the disk is full; free some space and {advice}'
            ) from None
        raise


def _partial(path: Path) -> Path:
    """The other name, which says whose it is; short enough wherever the name itself is."""
    owner = f'.{platform.node()}-{os.getpid()}{PARTIAL}'
    name = os.fsencode(path.name)
    if len(name) + len(owner) > LONGEST_NAME:
        digest = hashlib.blake2b(name, digest_size=8).hexdigest()
        name = name[: LONGEST_NAME - len(owner) - len(digest)] + digest.encode()
    return path.with_name(os.fsdecode(name) + owner)


def write_whole(path: str | Path, data: bytes | str, advice: str = ADVICE) -> None:
    """Write bytes, or text as UTF-8, through :func:`written_whole`."""
    with written_whole(path, advice) as partial:
        partial.write_bytes(data.encode() if isinstance(data, str) else data)


def file_digest(path: str | Path) -> str:
    """Hash of a file's bytes: what tells one content from another, whatever name and times say.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    content = hashlib.blake2b(digest_size=12)
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            content.update(chunk)
    return content.hexdigest()


def remove_partial(folder: Path, below: bool = False) -> None:
    """Remove what a killed process of this machine left unfinished; other processes' work stays.

    Args:
        folder: where to look.
        below: in its sub-folders, too.
    """
    for path in folder.rglob(f'*{PARTIAL}') if below else folder.glob(f'*{PARTIAL}'):
        node, _, number = path.name.removesuffix(PARTIAL).rpartition('-')
        if node.endswith(f'.{platform.node()}') and number.isdigit() and not _at_work(int(number)):
            path.unlink(missing_ok=True)


def _at_work(process: int) -> bool:
    """Whether another process with this number lives; our own number was somebody else's before."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def load_arrays(path: str | Path, most_bytes: int = MOST_BYTES) -> np.ndarray | dict[str, np.ndarray]:
    """The array of a ``.npy`` file, or name → array of a ``.npz`` file, whatever the file is called.

    Args:
        path: of the file.
        most_bytes: what would take more memory is refused before it is unpacked: 2 GB of zeros are 2 MB in a zip.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is neither, is cut off or damaged, holds Python objects, or too much.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path} does not exist')
    return _arrays(path, path, most_bytes)


def parse_arrays(data: bytes, name: object, most_bytes: int = MOST_BYTES) -> np.ndarray | dict[str, np.ndarray]:
    """The same of a file's bytes; ``name`` is what the error calls it.

    >>> buffer = io.BytesIO()
    >>> np.save(buffer, np.eye(2))
    >>> parse_arrays(buffer.getvalue(), 'a.npy').tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    array = _plain_array(data) if len(data) <= most_bytes else None
    return _arrays(io.BytesIO(data), name, most_bytes) if array is None else array


def _plain_array(data: bytes) -> np.ndarray | None:
    """The array of npy bytes of version 1, header read once for all alike; None leaves all else to numpy."""
    if data[:8] != NPY_1:
        return None
    offset = 10 + int.from_bytes(data[8:10], 'little')
    told = _npy_header(data[:offset])
    if told is None or told[0].hasobject or math.prod(told[1]) * told[0].itemsize > len(data) - offset:
        return None
    dtype, shape, order = told
    return np.frombuffer(data, dtype, math.prod(shape), offset).reshape(shape, order=order).copy()


@lru_cache(maxsize=64)
def _npy_header(head: bytes) -> tuple[np.dtype, tuple[int, ...], Literal['C', 'F']] | None:
    try:
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(head[8:]))
    except Exception:  # numpy says what is wrong when it reads the file
        return None
    return dtype, shape, 'F' if fortran else 'C'


def _arrays(source: str | Path | io.BytesIO, name: object, most_bytes: int) -> np.ndarray | dict[str, np.ndarray]:
    size = _unpacked_size(source)
    if size > most_bytes:
        raise ValueError(
            f'{name} takes {size / 1e6:.0f} MB of memory, more than {most_bytes / 1e6:.0f}; make it smaller'
        )
    try:
        loaded = np.load(source, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            arrays = {member: loaded[member] for member in loaded.files}
    except Exception as error:
        raise ValueError(f'{name} cannot be read ({type(error).__name__}: {error}); write it again') from None
    strangers = [member for member, value in arrays.items() if not isinstance(value, np.ndarray)]
    if strangers:  # members of the archive that are no .npy come as bytes
        raise ValueError(f'{name} cannot be read ({strangers[0]!r} in it is no array); write it again')
    return arrays


def _unpacked_size(source: str | Path | io.BytesIO) -> int:
    """Bytes that an archive's members say they have, which zipfile holds them to; else the file's own size."""
    try:
        with zipfile.ZipFile(source) as archive:
            return sum(member.file_size for member in archive.infolist())
    except Exception:  # no archive, or a damaged one: np.load says what is wrong with it
        return source.getbuffer().nbytes if isinstance(source, io.BytesIO) else os.path.getsize(source)
    finally:
        if isinstance(source, io.BytesIO):
            source.seek(0)


def load_npz(path: str | Path, most_bytes: int = MOST_BYTES) -> dict[str, np.ndarray]:
    """Name → array of a ``.npz`` file; raises as :func:`load_arrays`, also for a single ``.npy`` array."""
    arrays = load_arrays(path, most_bytes)
    if not isinstance(arrays, dict):
        raise ValueError(f'{path} holds one array, expected an npz of several')
    return arrays


def load_json(path: str | Path, hint: str = 'remove it to do that step again') -> dict[str, Any]:
    """The object of a JSON file.

    Args:
        path: of the file.
        hint: what to do about a damaged one, the end of the error's sentence.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no JSON, or another value than an object.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path} does not exist')
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is not JSON ({error}); {hint}') from None
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds a JSON {type(content).__name__}, expected an object; {hint}')
    return content
