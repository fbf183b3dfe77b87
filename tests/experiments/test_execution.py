# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Processes of a comparison: none ends the others, none has another's device, none outlives the comparison."""

from __future__ import annotations

import time
from itertools import combinations
from pathlib import Path

import pytest
import torch
from small_runs import SmallRun

from mmentropy.experiments import execution
from mmentropy.experiments.execution import ComparisonLog, device_name, execute_and_tabulate, execute_runs


@pytest.fixture(autouse=True)
def _quick_start(monkeypatch):
    """What a real run needs is not imported, and nothing is imported twice, GPUs or not."""
    monkeypatch.setattr(execution, 'PRELOADED', ['small_runs', 'mmentropy.experiments.execution'])
    start = execution.process_context
    monkeypatch.setattr(execution, 'process_context', lambda gpus: start(0))


def make(folder: Path, *names: str) -> list[SmallRun]:
    return [SmallRun(name, folder / str(i) / name, figure=float(i)) for i, name in enumerate(names)]


def test_a_run_that_fails_or_is_killed_does_not_end_the_others(tmp_path):
    runs = make(tmp_path, 'raises', 'good', 'killed', 'good')
    events: list[tuple[str, str]] = []
    failed = execute_runs(runs, 2, lambda run, event: events.append((run.directory.parent.name, event)))
    first, third = (str(runs[i].directory) for i in (0, 2))
    assert failed == {
        first: f'ValueError: row 3 is bad (log: {first}/console.log)',
        third: f'its process ended with code -9 (log: {third}/console.log)',
    }
    assert [run.state() for run in runs] == ['missing', 'finished', 'missing', 'finished']
    assert 'Traceback' in (runs[0].directory / 'console.log').read_text()
    ends = {'0': failed[first], '1': 'finished', '2': failed[third], '3': 'finished'}
    for run, end in ends.items():
        assert [event for name, event in events if name == run] == ['started', end]
    # What is finished is not touched again.
    stamp = (runs[1].directory / 'began').stat().st_mtime_ns
    assert execute_runs(runs[1:2]) == {}
    assert (runs[1].directory / 'began').stat().st_mtime_ns == stamp


def test_runs_at_the_same_time_have_devices_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    runs = make(tmp_path, *['good'] * 5)
    assert execute_runs(runs) == {}
    spans = []
    for run in runs:
        began, device = (run.directory / 'began').read_text().split()
        spans.append((float(began), float((run.directory / 'ended').read_text()), device))
    assert {device for *_, device in spans} == {'0', '1'}
    for (began, ended, device), (other_began, other_ended, other) in combinations(spans, 2):
        assert device != other or ended <= other_began or other_ended <= began


def test_devices_are_counted_among_the_visible_ones():
    assert [device_name(i, None) for i in range(2)] == ['0', '1']
    assert [device_name(i, '5,7') for i in range(2)] == ['5', '7']
    assert device_name(0, '') == '0'


def test_an_interruption_ends_what_runs_and_starts_no_more(tmp_path):
    runs = make(tmp_path, 'good', 'long', 'long')

    def report(run, event):
        if event == 'finished':
            while not (runs[1].directory / 'began').is_file():
                time.sleep(0.02)
            raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        execute_runs(runs, 1, report)
    assert time.monotonic() - begin < 50  # the long run alone takes 60
    assert (runs[1].directory / 'began').is_file()
    assert not (runs[1].directory / 'ended').is_file()
    assert not runs[2].directory.exists()


def test_the_log_and_its_tables(tmp_path, capsys):
    runs = make(tmp_path, 'good', 'raises')
    failed = execute_and_tabulate(runs, tmp_path / 'table', columns=['top1', 'topp'], usual=['loss'])
    assert list(failed) == [str(runs[1].directory)]
    said = capsys.readouterr().err
    assert '2 runs: 2 missing' in said
    assert 'good seed 0: finished, 1 left, about 0 min' in said
    assert 'raises seed 0: ValueError: row 3 is bad' in said
    assert 'no run has the figure topp; there are top1, loss' in said
    rows = (tmp_path / 'table.md').read_text().splitlines()
    assert rows[0] == '| method | runs | top1 |'
    assert rows[2:] == ['| good | 1 | 0.0 |', '| raises | 0 |  |']


def test_the_usual_columns_of_every_evaluation(tmp_path):
    runs = make(tmp_path, 'good', 'good')
    log = ComparisonLog([*runs, runs[0]], tmp_path / 'table', usual=['loss', 'none'])
    assert log.missing == runs  # each directory once
    execute_runs(runs, 2, log)
    assert ComparisonLog(runs, tmp_path / 'table').missing == []
    log.tell_end()
    assert (tmp_path / 'table.md').read_text().splitlines()[0] == '| method | runs | loss |'
