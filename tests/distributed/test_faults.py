# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Runs that are killed, stopped, starved of disk or workers: each says so, and ends as one that was left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from launch import work

TOTAL = 18


def entries(folder: Path) -> list[list]:
    return [json.loads(line) for line in (folder / 'diary_0.jsonl').read_text().splitlines()]


def assert_same_end(whole: Path, broken: Path, unsaid: frozenset = frozenset()) -> None:
    """Same weights, and every iteration and validation of any attempt saw what the undisturbed run saw.

    ``unsaid``: iterations that no attempt wrote down, killed after their checkpoint and before their line.
    """
    truth = {entry[0]: entry for entry in entries(whole)}
    assert len(truth) == TOTAL + 3
    made = entries(broken)
    assert {entry[0] for entry in made} == set(truth) - unsaid
    for entry in made:
        assert entry == truth[entry[0]]
    assert torch.equal(torch.load(whole / 'weights_0.pt'), torch.load(broken / 'weights_0.pt'))


def test_killed_at_random_moments(tmp_path):
    """Twelve SIGKILLs: while training, evaluating, writing a checkpoint, and just after it got its name."""
    work('faults_worker.py', 'kills', tmp_path)
    codes = json.loads((tmp_path / 'codes.json').read_text())
    assert {name: len(c) for name, c in codes.items()} == {'epochs': 8, 'workers': 3, 'iterations': 4}
    for name, found in codes.items():
        assert found == [-9] * (len(found) - 1) + [0]
        # The first checkpoint of this chain got its name, and no last_checkpoint: the next attempt goes on from it.
        unsaid = frozenset({3} if name == 'iterations' else ())
        assert_same_end(tmp_path / f'{name}_whole', tmp_path / f'{name}_broken', unsaid)


def test_a_schedulers_sigterm(tmp_path):
    work('faults_worker.py', 'terminated', tmp_path)
    codes = json.loads((tmp_path / 'codes.json').read_text())
    assert codes['one'] == [75, 0]
    assert codes['files'] == ['interrupted.pth', 'iter_8.pth']
    assert codes['files_after'] == ['iter_18.pth']
    said = (tmp_path / 'broken/stderr.txt').read_text()
    assert 'stopped by a signal after 9 iterations: checkpoint' in said
    assert 'Traceback' not in said
    made = [entry[0] for entry in entries(tmp_path / 'broken')]
    assert [number for number in made if not isinstance(number, str)] == list(range(TOTAL))  # none twice, none left out
    assert_same_end(tmp_path / 'whole', tmp_path / 'broken')
    # One of two processes was told: both stop at the end of the epoch (three iterations), and go on.
    assert codes['two'] == [75, 75]
    assert 'after 3 iterations' in (tmp_path / 'two/stderr.txt').read_text()
    assert codes['two_after'] == [0, 0]
    assert torch.equal(*(torch.load(tmp_path / f'two/weights_{rank}.pt') for rank in (0, 1)))


def test_a_full_disk(tmp_path):
    work('faults_worker.py', 'disk', tmp_path)
    codes = json.loads((tmp_path / 'codes.json').read_text())
    assert codes['limit'] == [2, 0]
    assert codes['files'] == ['iter_4.pth']  # the one before is whole, the unfinished one is gone
    said = (tmp_path / 'limit/stderr.txt').read_text()
    assert 'iter_8.pth could not be written, the disk is full; free' in said
    assert 'Traceback' not in said
    assert_same_end(tmp_path / 'whole', tmp_path / 'limit')
    if not codes['mounted']:
        pytest.skip('mounting a tmpfs is not permitted here; the limit on file sizes covers the rest')
    assert codes['small'] == [2, 0]
    assert codes['small_files'] == ['iter_4.pth']
    assert 'the disk is full' in (tmp_path / 'stderr.txt').read_text()
    assert_same_end(tmp_path / 'whole', tmp_path)


def test_a_killed_data_worker_and_a_truncated_checkpoint(tmp_path):
    work('faults_worker.py', 'worker', tmp_path)
    codes = json.loads((tmp_path / 'codes.json').read_text())
    assert codes['codes'] == [2, 0]
    assert codes['files'] == ['iter_4.pth', 'iter_8.pth']
    said = (tmp_path / 'broken/stderr.txt').read_text()
    assert 'error: a data worker process was ended by the system' in said
    assert 'go on with --resume' in said
    assert 'iter_8.pth is no whole checkpoint and is passed over' in said
    assert 'Traceback' not in said
    assert_same_end(tmp_path / 'whole', tmp_path / 'broken')
