# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Shards: what is written is read, by any tar; what a kill leaves goes on; what is hostile is refused."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from mmentropy.shard_files import BLOCK, ShardWriter, list_members

FILES = {'cats/a.npy': b'a' * 700, 'b.npz': b'', 'ä' * 80 + '.npy': b'b' * 512, 'c.npy': b'c'}


def fill(folder: Path, files: dict[str, bytes], **options) -> None:
    with ShardWriter(folder, **options) as shards:
        for name, data in files.items():
            shards.write(name, data)


def read_all(folder: Path) -> dict[str, bytes]:
    found = [list_members(path) for path in sorted(folder.glob('*.tar'))]
    assert all(listing.problem is None for listing in found)
    return {member.path: member.read() for listing in found for member in listing.members}


@pytest.mark.parametrize('most_bytes', [1, 3000, 2**28])
def test_what_is_written_is_read_here_and_by_tarfile(most_bytes, tmp_path):
    fill(tmp_path, FILES, most_bytes=most_bytes)
    assert read_all(tmp_path) == FILES
    assert len(list(tmp_path.glob('*.tar'))) == {1: 4, 3000: 2, 2**28: 1}[most_bytes]
    elsewhere = {}
    for path in tmp_path.glob('*.tar'):
        with tarfile.open(path) as archive:
            elsewhere |= {info.name: archive.extractfile(info).read() for info in archive}
    assert elsewhere == FILES


def test_a_second_writer_goes_on(tmp_path):
    names = list(FILES)
    for part in (names[:2], names[2:]):
        fill(tmp_path, {name: FILES[name] for name in part})
    assert read_all(tmp_path) == FILES
    with ShardWriter(tmp_path) as shards:
        assert set(shards.members) == set(FILES)
        with pytest.raises(ValueError, match=r'c\.npy is there already'):
            shards.write('c.npy', b'new')
    assert read_all(tmp_path) == FILES


@pytest.mark.parametrize('name', ['../x', '/etc/x', 'a/../../x', ''])
def test_names_that_point_outside_are_not_written(name, tmp_path):
    with ShardWriter(tmp_path) as shards, pytest.raises(ValueError, match='cannot be in a shard'):
        shards.write(name, b'')


def test_one_writer_at_a_time(tmp_path):
    with ShardWriter(tmp_path), pytest.raises(ValueError, match='another writer of shards works in this folder'):
        ShardWriter(tmp_path).__enter__()
    with ShardWriter(tmp_path, stem='others'):
        pass


@pytest.mark.parametrize('cut', range(0, 7 * BLOCK, 97))
def test_an_archive_that_was_cut_anywhere_keeps_its_whole_files_and_goes_on(cut, tmp_path):
    files = {'a.npy': b'a' * 700, 'b.npy': b'b' * 10}
    fill(tmp_path, files)
    path = tmp_path / 'maps-00000.tar'
    ends = [BLOCK + 700, 3 * BLOCK + BLOCK + 10]  # a header and its bytes each; the first takes three blocks
    os.truncate(path, cut)
    found = list_members(path)
    expected = list(files)[: sum(cut >= end for end in ends)]
    assert [member.path for member in found.members] == expected
    assert (found.problem is None) == (cut >= 5 * BLOCK + BLOCK)
    with ShardWriter(tmp_path) as shards:
        assert list(shards.members) == expected
        for name in list(files)[len(expected) :]:
            shards.write(name, files[name])
    assert read_all(tmp_path) == files


WRITER = """
import sys
from mmentropy.shard_files import ShardWriter
with ShardWriter(sys.argv[1], most_bytes=200_000) as shards:
    number = len(shards.members)
    while True:
        shards.write(f'{number}.npy', str(number).encode() * 3000)
        number += 1
"""


def test_a_killed_writer_leaves_what_the_next_one_goes_on_from(tmp_path):
    """Killed in the middle of writing, five times; every file that there is, is whole, and none is missing between."""
    for round_number in range(5):
        writer = subprocess.Popen([sys.executable, '-c', WRITER, str(tmp_path)])
        before = len(list(tmp_path.glob('*.tar')))
        until = time.monotonic() + 60
        while len(list(tmp_path.glob('*.tar'))) <= before and time.monotonic() < until:
            time.sleep(0.01 + 0.003 * round_number)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    with ShardWriter(tmp_path) as shards:
        count = len(shards.members)
    assert count > 50
    assert read_all(tmp_path) == {f'{number}.npy': str(number).encode() * 3000 for number in range(count)}


def hostile(kind: str) -> bytes:
    """An archive with one good file, and one that no writer of ours makes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        archive.addfile(tarfile.TarInfo('good.npy'))
        info = tarfile.TarInfo({'outside': '../../evil.npy', 'absolute': '/etc/evil.npy'}.get(kind, 'evil.npy'))
        if kind in ('symlink', 'link'):
            info.type, info.linkname = (tarfile.SYMTYPE if kind == 'symlink' else tarfile.LNKTYPE), '/etc/passwd'
        elif kind == 'device':
            info.type = tarfile.CHRTYPE
        elif kind == 'sparse':
            info.type = tarfile.GNUTYPE_SPARSE
        archive.addfile(info)
    data = bytearray(buffer.getvalue())
    if kind in ('negative', 'huge'):
        size = (256**11 - 4096).to_bytes(11, 'big') if kind == 'negative' else (2**62).to_bytes(11, 'big')
        data[BLOCK + 124 : BLOCK + 136] = (b'\xff' if kind == 'negative' else b'\x80') + size
        data[BLOCK + 148 : BLOCK + 156] = b' ' * 8
        data[BLOCK + 148 : BLOCK + 156] = b'%06o\0 ' % sum(data[BLOCK : 2 * BLOCK])
    return bytes(data)


@pytest.mark.parametrize('kind', ['outside', 'absolute', 'symlink', 'link', 'device', 'sparse', 'negative'])
def test_hostile_archives_are_refused_as_a_whole(kind, tmp_path):
    path = tmp_path / 'maps-00000.tar'
    path.write_bytes(hostile(kind))
    found = list_members(path)
    assert found.members == []
    assert 'it is refused' in found.problem
    with pytest.raises(ValueError, match=r'maps-00000\.tar holds .*; it is refused; remove it'):
        ShardWriter(tmp_path).__enter__()
    assert path.read_bytes() == hostile(kind)


def test_a_size_beyond_the_end_is_a_cut(tmp_path):
    path = tmp_path / 'a.tar'
    path.write_bytes(hostile('huge'))
    found = list_members(path)
    assert [member.path for member in found.members] == ['good.npy']
    assert 'cut off or damaged after 1 files' in found.problem


@pytest.mark.parametrize('mode', ['w:gz', 'w:xz'])
def test_compressed_archives_are_none(mode, tmp_path):
    """A few kB that unpack to gigabytes are never unpacked."""
    with tarfile.open(tmp_path / 'a.tar', mode) as archive:
        info = tarfile.TarInfo('a.npy')
        info.size = 2**20
        archive.addfile(info, io.BytesIO(os.urandom(1000) + bytes(2**20 - 1000)))
    assert 'is no tar archive' in list_members(tmp_path / 'a.tar').problem


@pytest.mark.parametrize('seed', range(150))
def test_damaged_archives_end_in_a_listing(seed, tmp_path):
    """Bytes changed anywhere: a listing whose members lie within the file, never another error or a hang."""
    import random

    fill(tmp_path, FILES)
    path, rng = tmp_path / 'maps-00000.tar', random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data[: rng.randrange(1, len(data) + 1)] if rng.random() < 0.3 else data)
    assert places(path) == places_by_tarfile(path)
    for member in list_members(path).members:
        assert len(member.read()) == member.size
        assert '..' not in Path(member.path).parts


def test_a_shard_that_was_replaced_gives_no_other_files_bytes(tmp_path):
    """Files of one size in another order, under the same name: each is found where it is now, or not at all."""
    fill(tmp_path / 'a', {'x.npy': b'xx', 'y.npy': b'yy'})
    fill(tmp_path / 'b', {'y.npy': b'YY', 'x.npy': b'XX'})
    path = tmp_path / 'a/maps-00000.tar'
    first, second = list_members(path).members
    (tmp_path / 'b/maps-00000.tar').replace(path)
    for member in (first, second):
        with pytest.raises(ValueError, match=r'[xy]\.npy is no longer where it was, the shard was replaced'):
            member.read()
    assert [member.read() for member in list_members(path).members] == [b'YY', b'XX']


def places(path: Path) -> list[tuple[str, int, int]]:
    return [(member.path, member.offset, member.size) for member in list_members(path).members]


def places_by_tarfile(path: Path) -> list[tuple[str, int, int]]:
    """The same, every header read by ``tarfile``; nothing of an archive that is refused."""
    found, end = [], 0
    try:
        with tarfile.open(path, 'r:') as archive:
            for info in archive:
                outside = info.name.startswith('/') or '..' in info.name.split('/') or '\0' in info.name
                plain = info.isdir() or (info.isreg() and not info.issparse())
                if outside or not plain or info.size < 0 or info.offset < end:
                    return []
                if info.offset_data + info.size > path.stat().st_size:
                    break
                end = info.offset_data + -(-info.size // BLOCK) * BLOCK
                found += [(info.name, info.offset_data, info.size)] * info.isreg()
    except (tarfile.TarError, ValueError, OverflowError, EOFError):
        return found if end else []
    return found


NAMES = ['a.npy', 'f/' * 40 + 'b.npy', 'f/' * 100 + 'c.npy', 'n' * 100, 'n' * 160, 'ä/ü.npy', 'with space.npy']


@pytest.mark.parametrize('form', [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize('pax_headers', [{}, {'comment': 'made elsewhere'}, {'path': 'all.npy'}])
def test_archives_of_others_are_listed_as_tarfile_does(form, pax_headers, tmp_path):
    """Long names, folders, times with fractions, headers for all: whatever of it a format has."""
    with tarfile.open(tmp_path / 'a.tar', 'w', format=form, pax_headers=pax_headers) as archive:
        for number, name in enumerate(NAMES):
            if form == tarfile.USTAR_FORMAT and len(name) >= 160:
                continue
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uname, info.uid = 300 * number, number / 4, 'somebody', 1000
            archive.addfile(info, io.BytesIO(bytes([number]) * info.size))
            folder = tarfile.TarInfo(f'folder {number}')
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
    found = list_members(tmp_path / 'a.tar')
    assert found.problem is None
    assert len(found.members) == (5 if form == tarfile.USTAR_FORMAT else 7)
    assert places(tmp_path / 'a.tar') == places_by_tarfile(tmp_path / 'a.tar')
    with tarfile.open(tmp_path / 'a.tar') as archive:
        content = [archive.extractfile(info).read() for info in archive if info.isreg()]
    assert [member.read() for member in found.members] == content


def test_a_shard_that_became_shorter(tmp_path):
    fill(tmp_path, FILES)
    member = list_members(tmp_path / 'maps-00000.tar').members[-1]
    os.truncate(member.shard, member.offset)
    with pytest.raises(ValueError, match=r'maps-00000\.tar:c\.npy is cut off'):
        member.read()
