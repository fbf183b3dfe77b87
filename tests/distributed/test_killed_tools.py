# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Tools that are killed while they write maps or evaluate; a second start ends as if nothing had been."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from launch import work


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp('tools')
    work('tools_worker.py', place)
    return place


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize(('name', 'kills', 'number'), [('localize', 3, 8 * 5 + 1), ('test', 2, 1)])
def test_what_was_killed_and_started_again_has_the_same_files(folder, name, kills, number):
    codes = json.loads((folder / 'codes.json').read_text())
    assert codes[name] == [-9] * kills + [0]
    whole, broken = files(folder / name / 'whole/out'), files(folder / name / 'broken/out')
    assert len(whole) == number
    assert broken == whole  # no half file, no leftover under another name, every byte alike


def test_finished_photos_are_not_done_again(folder):
    """The maps that were there after a kill are those of the end, none was written anew."""
    stamps = json.loads((folder / 'localize/stamps.json').read_text())
    for before, after in pairwise(stamps):
        assert before.items() <= after.items()
    assert len(stamps[-1]) == 8
