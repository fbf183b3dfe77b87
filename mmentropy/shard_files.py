# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Millions of small files as shards: plain tar archives, as WebDataset has them, that any ``tar`` reads and makes.

tar and not zarr: a member is the very file that would lie in a folder (``<image_id>.npz``), so readers and checks are
the same; it needs nothing but Python; an archive grows at its end, where a kill can only cut off the last member.
Nothing is ever unpacked to the disk, and archives are not compressed (their members may be).
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

from .processes import one_owner
from .safe_files import FULL, DiskFullError

SHARD_SUFFIX = '.tar'
#: A shard is closed, and the next begun, above so many bytes.
SHARD_BYTES = 2**28
BLOCK = 512
#: What numbers in a header are written with.
NUMBERS = b'01234567 \0'
#: Two empty blocks end an archive.
END = bytes(2 * BLOCK)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a shard, and where it lies in it, in bytes.

    Attributes:
        shard: path of the archive.
        path: name in it.
        offset: of its bytes.
        size: number of its bytes.
        head: checksum of the block before them, which holds the name: what lies there later may be another file.

    >>> with ShardWriter('shards') as shards:
    ...     shards.write('cats/a.npy', b'bytes')
    >>> member = list_members('shards/maps-00000.tar').members[0]
    >>> str(member), member.read()
    ('shards/maps-00000.tar:cats/a.npy', b'bytes')
    """

    shard: str
    path: str
    offset: int
    size: int
    head: int

    def __str__(self) -> str:
        return f'{self.shard}:{self.path}'

    def __fspath__(self) -> str:
        return str(self)

    @property
    def name(self) -> str:
        """Without its folders."""
        return PurePosixPath(self.path).name

    def read(self) -> bytes:
        """Its bytes; ValueError if the shard has become shorter, or another one, since it was listed."""
        file = os.open(self.shard, os.O_RDONLY)
        try:
            data = os.pread(file, BLOCK + self.size, self.offset - BLOCK)
        finally:
            os.close(file)
        if len(data) < BLOCK + self.size:
            raise ValueError(f'{self} is cut off; write it again')
        if crc32(data[:BLOCK]) != self.head:
            raise ValueError(f'{self} is no longer where it was, the shard was replaced meanwhile; start again')
        return data[BLOCK:]


class Listing(NamedTuple):
    """What is in a shard.

    Attributes:
        members: the files that are whole.
        end: byte behind the last of them.
        problem: what is wrong with the archive, the end of a sentence; or None.
        mendable: whether it is an archive, of which no more than the end is missing.

    >>> Listing([], 0, None, True).problem is None
    True
    """

    members: list[Member]
    end: int
    problem: str | None
    mendable: bool


def list_members(shard: str | Path) -> Listing:
    """The whole files in a shard, and what is wrong with it, if anything.

    An archive that was cut off gives the files before the cut. One with a name that points outside, with links, devices
    or other things that no writer of maps makes, gives none: it is not what it says.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    members: list[Member] = []
    path, end = str(shard), 0
    with open(shard, 'rb') as file:
        size = os.fstat(file.fileno()).st_size
        try:
            for info in _infos(file):
                strange = _strange(info) or ('which overlaps another' if info.offset < end else None)
                if strange:
                    return Listing([], 0, f'holds {info.name[:100]!r}, {strange}; it is refused', False)
                if info.offset_data + info.size > size:
                    break
                end = info.offset_data + _blocks(info.size)
                if info.isreg():
                    file.seek(info.offset_data - BLOCK)
                    head = crc32(file.read(BLOCK))
                    members.append(Member(path, info.name, info.offset_data, info.size, head))
        except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
            if end == 0 and size >= BLOCK:
                return Listing([], 0, f'is no tar archive ({error}); it is refused', False)
        file.seek(end)
        if file.read(BLOCK) != bytes(BLOCK):
            problem = f'is cut off or damaged after {len(members)} files; write the rest again'
            return Listing(members, end, problem, True)
    return Listing(members, end, None, True)


class _PlainInfo(NamedTuple):
    """What the header of a plain file says; named as in ``tarfile.TarInfo``."""

    name: str
    size: int
    offset: int

    @property
    def offset_data(self) -> int:
        return self.offset + BLOCK

    def isreg(self) -> bool:
        return True

    def isdir(self) -> bool:
        return False

    def issparse(self) -> bool:
        return False


Info = _PlainInfo | tarfile.TarInfo


def _infos(file: BinaryIO) -> Iterator[Info]:
    """Each member's header: of plain files read here, which is three times as fast; all else by ``tarfile``."""
    archive, offset = tarfile.open(fileobj=file, mode='r:'), 0  # noqa: SIM115  the caller closes the file
    archive.firstmember = None  # it has read one already
    while True:
        file.seek(offset)
        # What a global header of an archive says holds for all that follows.
        info: Info | None = None if archive.pax_headers else _plain_info(file.read(BLOCK), offset)
        if info is None:
            archive.offset = file.seek(offset)
            info = archive.next()
            archive.members.clear()  # it would keep all it has seen
            if info is None:
                return
            offset = archive.offset
        else:
            offset = info.offset_data + _blocks(info.size)
        yield info


def _plain_info(head: bytes, offset: int) -> _PlainInfo | None:
    """What the header of a plain file says, as ``tarfile`` reads it; None for other and for damaged headers."""
    kind, numbers = head[156:157], head[100:156] + head[329:345]
    if len(head) < BLOCK or kind != tarfile.REGTYPE or numbers.translate(None, NUMBERS):
        return None
    name, prefix, size, total = (
        head[start:end].partition(b'\0')[0] for start, end in ((0, 100), (345, 500), (124, 136), (148, 156))
    )
    try:
        if int(total, 8) != sum(head) - sum(head[148:156]) + 8 * ord(' '):
            return None
        text = (prefix + b'/' + name if prefix else name).decode('utf-8', 'surrogateescape')
        return _PlainInfo(text, int(size, 8), offset)
    except ValueError:
        return None


def _blocks(size: int) -> int:
    """Bytes that so many take in an archive."""
    return -(-size // BLOCK) * BLOCK


def _strange(info: Info) -> str | None:
    """What is wrong with a member that no writer of ours makes."""
    if info.name.startswith('/') or '..' in info.name.split('/') or '\0' in info.name:
        return 'whose name points outside'
    if info.size < 0:
        return 'whose size is below 0'
    if info.isdir() or (info.isreg() and not info.issparse()):
        return None
    return 'which is neither a plain file nor a folder'


class ShardWriter:
    """Appends files to ``<stem>-00000.tar``, ``-00001.tar``, … of a folder; goes on where an earlier one was killed.

    A file is in the archive whole, or the next writer cuts its beginning off: each is one write at the end. One writer
    a folder at a time; several write shards of different stems.

    Args:
        folder: made when needed.
        stem: of the shards' names.
        most_bytes: a shard above this is closed.

    Raises:
        ValueError: for an archive that is none of ours, and while another writer works.

    >>> with ShardWriter('more', most_bytes=1) as shards:
    ...     shards.write('a.npy', b'1'), shards.write('b.npy', b'2')
    (None, None)
    >>> with ShardWriter('more') as shards:
    ...     sorted(shards.members), shards.members['b.npy'].read(), [p.name for p in sorted(Path('more').glob('*.tar'))]
    (['a.npy', 'b.npy'], b'2', ['maps-00000.tar', 'maps-00001.tar'])
    """

    def __init__(self, folder: str | Path, stem: str = 'maps', most_bytes: int = SHARD_BYTES) -> None:
        self.folder, self.stem, self.most_bytes = Path(folder), stem, most_bytes
        #: What is in the shards, by name.
        self.members: dict[str, Member] = {}
        self._file: BinaryIO | None = None
        self._path, self._end = '', 0
        self._open = ExitStack()

    def __enter__(self) -> ShardWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        advice = 'wait for it, or take another folder'
        self._open.enter_context(one_owner(self.folder / f'.{self.stem}.lock', 'writer of shards', advice))
        try:
            for path in self._paths():
                self._take_up(path)
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *exception: Any) -> None:
        self._close_shard()
        self._open.close()

    def write(self, name: str, data: bytes) -> None:
        """Append one file.

        Raises:
            ValueError: for a name that is there already, or that points outside.
            DiskFullError: if there is no space left; the file is not in the shard then.
        """
        if name in self.members:
            raise ValueError(f'{self.members[name]} is there already; take another folder to write it anew')
        info = tarfile.TarInfo(name)
        info.size = len(data)
        strange = _strange(info)
        if strange or not name:
            raise ValueError(f'{name!r} cannot be in a shard, {strange or "it is empty"}')
        file = self._file
        if file is None or self._end > self.most_bytes:
            file = self._next_shard()
        head = info.tobuf(tarfile.PAX_FORMAT, 'utf-8', 'surrogateescape')
        member = Member(self._path, name, self._end + len(head), len(data), crc32(head[-BLOCK:]))
        self._append(file, head + data + bytes(_blocks(len(data)) - len(data)))
        self.members[name] = member

    def _append(self, file: BinaryIO, blocks: bytes) -> None:
        try:
            file.seek(self._end)
            file.write(blocks + END)
            file.flush()
        except OSError as error:
            file.truncate(self._end)
            if error.errno in FULL:
                raise DiskFullError(
                    f'{self._path} could not be written, the disk is full; free some space and start again, '
                    'what is written is kept'
                ) from None
            raise
        self._end += len(blocks)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob(f'{self.stem}-[0-9][0-9][0-9][0-9][0-9]{SHARD_SUFFIX}'))

    def _take_up(self, path: Path) -> None:
        """Note what is in a shard; what a kill has left half at its end goes."""
        found = list_members(path)
        if not found.mendable:
            raise ValueError(f'{path} {found.problem}; remove it, or take another folder')
        self.members |= {member.path: member for member in found.members}
        if found.problem:
            with open(path, 'r+b') as file:
                file.truncate(found.end)
                file.seek(found.end)
                file.write(END)
        self._path, self._end = str(path), found.end

    def _next_shard(self) -> BinaryIO:
        """The last shard that is there, opened, or a new one where that is full."""
        self._close_shard()
        if not self._path or self._end > self.most_bytes:
            number = len(self._paths())
            self._path, self._end = str(self.folder / f'{self.stem}-{number:05d}{SHARD_SUFFIX}'), 0
        self._file = open(self._path, 'r+b' if os.path.exists(self._path) else 'w+b')  # noqa: SIM115  stays open
        return self._file

    def _close_shard(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
