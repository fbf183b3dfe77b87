# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A file's hash follows its content; the table on disk only spares reading."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from mmentropy.segmentation import digests as module
from mmentropy.segmentation.digests import MISSING, Digests, differing, digest_of


@pytest.fixture
def reads(monkeypatch) -> list[Path]:
    """The files that were really read."""
    done: list[Path] = []
    real = module.digest
    monkeypatch.setattr(module, 'digest', lambda path: (done.append(path), real(path))[1])
    return done


def old(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    os.utime(path, (1e9, 1e9))
    return path


def test_content_and_nothing_else(tmp_path):
    a, b = old(tmp_path / 'a', b'x'), old(tmp_path / 'b', b'x')
    digests = Digests()
    assert digests.of(a) == digests.of(b) == hashlib.blake2b(b'x', digest_size=12).hexdigest()
    assert digests.of(tmp_path / 'c') == digests.of(tmp_path) == MISSING
    assert digests.of_all([a, b]) != digests.of_all([a])


def test_untouched_files_are_not_read_twice(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(module, 'RACY', -1.0)  # files of this very moment count as settled
    path = old(tmp_path / 'a', b'x')
    first = Digests(tmp_path / 'table.json')
    value = first.of(path)
    first.save()
    second = Digests(tmp_path / 'table.json')
    assert second.of(path) == value
    assert reads == [path]
    # Same size and time of change, another content: the inode or the other time tells.
    old(tmp_path / 'b', b'y').replace(path)
    assert second.of(path) == hashlib.blake2b(b'y', digest_size=12).hexdigest()


def test_a_fresh_file_is_read_again(tmp_path, reads):
    path = tmp_path / 'a'
    path.write_bytes(b'x')
    digests = Digests()
    digests.of(path)
    digests.of(path)
    assert len(reads) == 2


@pytest.mark.parametrize('content', ['', '{', '[]', '{"a": 3}', '{"a": [1, 2, 3, 4]}', '{"a": {"b": []}}'])
def test_a_damaged_table_costs_reading(tmp_path, content):
    path = old(tmp_path / 'a', b'x')
    (tmp_path / 'table.json').write_text(content)
    assert Digests(tmp_path / 'table.json').of(path) == Digests().of(path)


def test_values():
    assert digest_of([1]) != digest_of([2])
    assert digest_of({'a': Path('x')}) == digest_of({'a': 'x'})
    assert differing({'a': '1'}, {'a': '1'}) == []
    assert json.loads(json.dumps(differing({'b': '1'}, {'a': '1', 'b': '2'}))) == ['a', 'b']


def test_files_and_values_together(tmp_path):
    a, digests = old(tmp_path / 'a', b'x'), Digests()
    assert digests.of_any(a) == digests.of(a)
    assert digests.of_any([[0, 2], ['cat']]) == digest_of([[0, 2], ['cat']])
    before = digests.of_any([a, 1])
    assert digests.of_any([tmp_path / 'b', 1]) != before != digests.of_any([a, 2])
    old(a, b'yy')
    assert digests.of_any([a, 1]) != before
