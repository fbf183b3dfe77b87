# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A record is checked before it is believed, and what does not fit is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmentropy.segmentation.records import MARK, StageRecord, check_inside

GOOD = {
    'hash': 'ab12',
    'depends': {'classify/model.pth': 'cd'},
    'images': {'2007_000032': 'ef'},
    'files': {'2007_000032.npz': '01'},
    'failures': {'2007_000033': 'cut off'},
    'measured': '',
    'stage': 'maps',
    'settings': {'type': 'ClassMaps'},
    'inputs': ['classify'],
    'seconds': 1.5,
    'version': '1',
    'result': {'mIoU': 50.0},
}


def load(folder: Path, **changes) -> StageRecord:
    (folder / MARK).write_text(json.dumps({**GOOD, **changes}))
    return StageRecord.load(folder)


def test_back_and_forth(tmp_path):
    record = load(tmp_path)
    assert record.finished
    record.save(tmp_path)
    assert StageRecord.load(tmp_path) == record
    assert vars(record) == GOOD
    assert StageRecord.load(tmp_path / 'nowhere') == StageRecord()
    assert not StageRecord().finished


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'hash': 3}, "'hash' is a number, expected text"),
        ({'files': ['a.npz']}, "'files' is a list, expected an object"),
        ({'files': None}, "'files' is null, expected an object"),
        ({'files': {'a.npz': 3}}, "'files' has 3 for 'a.npz', expected a hash"),
        ({'files': {'a.npz': '../x'}}, "'files' has '../x' for 'a.npz', expected a hash"),
        ({'depends': {'a': None}}, "'depends' has None for 'a', expected a hash"),
        ({'images': 'all'}, "'images' is text, expected an object"),
        ({'failures': {'a': []}}, "'failures' has a list for 'a', expected a sentence"),
        ({'inputs': 'maps'}, "'inputs' is text, expected a list"),
        ({'inputs': [3]}, "'inputs' holds something else than names of stages"),
        ({'seconds': '1'}, "'seconds' is text, expected a number"),
        ({'result': True}, "'result' is true or false, expected an object"),
        ({'files': {'../../canary.txt': 'ab'}}, "the name '../../canary.txt' does not stay inside the folder"),
        ({'files': {'/etc/passwd': 'ab'}}, "the name '/etc/passwd' does not stay inside the folder"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, changes, words):
    with pytest.raises(ValueError, match='is no record of a stage') as caught:
        load(tmp_path, **changes)
    assert words in str(caught.value)
    assert str(tmp_path / MARK) in str(caught.value)


@pytest.mark.parametrize('name', ['', '.', '..', 'a/../b', './a', 'a//b', 'a/', '/a', 'a\\b', 'a\0b'])
def test_names_outside(name):
    with pytest.raises(ValueError, match='does not stay inside'):
        check_inside(name)


def test_names_inside():
    check_inside('a.npz')
    check_inside('val2014/a.npz')


def test_damaged_in_a_thousand_ways(tmp_path):
    """Whatever one byte becomes: a record, or one sentence that names the file."""
    rng, text = np.random.default_rng(0), json.dumps(GOOD).encode()
    refused = 0
    for _ in range(1000):
        damaged = bytearray(text)
        damaged[rng.integers(len(text))] = rng.integers(256)
        (tmp_path / MARK).write_bytes(bytes(damaged))
        try:
            StageRecord.load(tmp_path).check()
        except ValueError as error:
            assert str(tmp_path / MARK) in str(error)  # noqa: PT017  either outcome is right
            refused += 1
    assert refused > 300
