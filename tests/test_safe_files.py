# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Files are there whole or in their earlier state, whatever ends the writing; leftovers go, others' work stays."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import platform
import signal

import numpy as np
import pytest

from mmentropy.safe_files import DiskFullError, file_digest, load_arrays, remove_partial, write_whole, written_whole


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / 'new' / 'a.pth'
    write_whole(path, b'first')

    def full(number):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('mmentropy.safe_files.os.fsync', full)
    words = (
        r'^.*a\.pth could not be written, the disk is full; free some space and start again, finished files are kept$'
    )
    with pytest.raises(DiskFullError, match=words):
        write_whole(path, 'second')
    assert names(path.parent) == ['a.pth']
    assert path.read_bytes() == b'first'


@pytest.mark.parametrize('error', [KeyboardInterrupt, ValueError('its own words')])
def test_a_block_that_fails_leaves_nothing(tmp_path, error):
    def fail() -> None:
        with written_whole(tmp_path / 'a.txt') as partial:
            partial.write_text('half')
            raise error

    with pytest.raises(error if isinstance(error, type) else ValueError, match=r'its own words|^$'):
        fail()
    assert names(tmp_path) == []


def test_text_is_utf8_and_the_last_writer_wins(tmp_path):
    write_whole(tmp_path / 'a', 'ß→θ')
    assert (tmp_path / 'a').read_bytes() == 'ß→θ'.encode()
    with written_whole(tmp_path / 'a') as partial:
        partial.write_bytes(b'new')
        assert (tmp_path / 'a').read_bytes() == 'ß→θ'.encode()  # until the end of the block
    assert (tmp_path / 'a').read_bytes() == b'new'


def _write_and_wait(path, started) -> None:
    with written_whole(path) as partial:
        partial.write_text('half')
        started.set()
        signal.pause()


def test_leftovers_of_the_dead_go_and_files_of_the_living_stay(tmp_path):
    context = multiprocessing.get_context('fork')
    started = context.Event()
    process = context.Process(target=_write_and_wait, args=(tmp_path / 'a-1.npz', started))
    process.start()
    started.wait(60)
    foreign = f'b.npz.{platform.node()}x-1.part'  # another machine's: no process number of ours
    strangers = ['c.part', 'd.npz.part', foreign]
    for name in strangers:
        (tmp_path / name).touch()
    (tmp_path / f'e.npz.{platform.node()}-{os.getpid()}.part').touch()  # of an earlier process with our number
    remove_partial(tmp_path)
    living = f'a-1.npz.{platform.node()}-{process.pid}.part'
    assert names(tmp_path) == sorted([living, *strangers])
    process.kill()
    process.join()
    remove_partial(tmp_path)
    assert names(tmp_path) == sorted(strangers)


def test_leftovers_below_go_only_when_asked_for(tmp_path):
    left = tmp_path / 'a' / 'b' / f'c.png.{platform.node()}-{os.getpid()}.part'
    left.parent.mkdir(parents=True)
    left.touch()
    remove_partial(tmp_path)
    assert left.exists()
    remove_partial(tmp_path, below=True)
    assert not left.exists()


def test_the_disk_is_waited_for_unless_told_otherwise(tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr('mmentropy.safe_files.os.fsync', waited.append)
    for flush, times in ((True, 1), (False, 1)):
        with written_whole(tmp_path / 'a', flush=flush) as partial:
            partial.write_text(str(flush))
        assert (tmp_path / 'a').read_text() == str(flush)
        assert len(waited) == times


def test_a_name_of_the_greatest_length_is_written(tmp_path):
    for name in ('a' * 255, 'é' * 127, os.fsdecode(b'\xff' * 255)):
        write_whole(tmp_path / name, b'there')
        assert (tmp_path / name).read_bytes() == b'there'
    assert len(names(tmp_path)) == 3


def test_leftovers_of_long_names_are_known(tmp_path):
    with written_whole(tmp_path / ('b' * 255)) as partial:
        assert len(os.fsencode(partial.name)) == 255
        partial.write_bytes(b'whole')
        nobodys = partial.name.replace(f'-{os.getpid()}', '-999999999')[-255:]
    (tmp_path / nobodys).write_bytes(b'half')
    remove_partial(tmp_path)
    assert names(tmp_path) == ['b' * 255]


def test_an_archive_that_unpacks_to_too_much(tmp_path):
    np.savez_compressed(tmp_path / 'a.npz', cam=np.zeros((1000, 1000)))
    assert (tmp_path / 'a.npz').stat().st_size < 20_000
    with pytest.raises(ValueError, match=r'a\.npz takes 8 MB of memory, more than 5; make it smaller'):
        load_arrays(tmp_path / 'a.npz', 5_000_000)
    np.save(tmp_path / 'a.npy', np.zeros((1000, 1000)))
    with pytest.raises(ValueError, match=r'a\.npy takes 8 MB'):
        load_arrays(tmp_path / 'a.npy', 5_000_000)
    assert load_arrays(tmp_path / 'a.npy', 9_000_000).shape == (1000, 1000)


@pytest.mark.parametrize(('offset', 'value', 'told'), [(6, 1, 'encrypted'), (8, 99, 'compression')])
def test_encrypted_and_oddly_compressed_archives_are_one_sentence(tmp_path, offset, value, told):
    """The flags, or the method, of the member's two headers are overwritten."""
    np.savez(tmp_path / 'a.npz', cam=np.eye(3))
    data = bytearray((tmp_path / 'a.npz').read_bytes())
    for head, first in ((b'PK\x03\x04', offset), (b'PK\x01\x02', offset + 2)):
        data[data.index(head) + first] = value
    (tmp_path / 'a.npz').write_bytes(data)
    with pytest.raises(ValueError, match=rf'^.*a\.npz cannot be read \(.*{told}.*\); write it again$'):
        load_arrays(tmp_path / 'a.npz')


def test_a_digest_is_of_the_bytes(tmp_path):
    data = bytes(3 << 20)
    (tmp_path / 'a').write_bytes(data)
    (tmp_path / 'b').write_bytes(data)
    expected = hashlib.blake2b(data, digest_size=12).hexdigest()
    assert file_digest(tmp_path / 'a') == file_digest(tmp_path / 'b') == expected
