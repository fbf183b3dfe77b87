# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Shards by every launcher: the same results, records that are believed only whole, and lost workers' shards again."""

from __future__ import annotations

import functools
import json
import multiprocessing
import signal
from pathlib import Path

import pytest
import shard_work
from shard_work import refuse, square, square_or_die

from mmentropy import tasks
from mmentropy.tasks import Workers, read_records, remove_records, run_once, run_tasks

SHARDS = {f'part{number}': number for number in range(8)}
SQUARES = {f'part{number}': number**2 for number in range(8)}


def tried(folder: Path) -> list[int]:
    """Numbers that were worked on, once for each time."""
    return sorted(int(path.name.partition('-')[0]) for path in folder.iterdir())


@pytest.mark.parametrize('jobs', [1, 2])
def test_a_second_run_works_on_nothing(jobs, tmp_path):
    attempts = tmp_path / 'tried'
    attempts.mkdir()
    work = functools.partial(square_or_die, str(attempts), -1, 0)
    seen = []
    for _ in range(2):
        done = run_tasks(
            work, SHARDS, tmp_path / 'records', 'k', Workers(jobs=jobs), lambda *numbers: seen.append(numbers)
        )
        assert list(done.items()) == list(SQUARES.items())
        assert tried(attempts) == list(range(8))
    assert seen == [(number, 8) for number in range(9)] + [(8, 8)]


def test_results_are_json_whether_new_or_read(tmp_path):
    for _ in range(2):
        assert run_tasks(lambda x: (x, {1: 0.1}), {'a': 2}, tmp_path, 'k') == {'a': [2, {'1': 0.1}]}


def damaged(text: str):
    record = json.loads(text)
    yield text[: len(text) // 2]
    yield ''
    yield '[]'
    yield text.replace('"result": 9', '"result": 8')  # a changed digit
    yield json.dumps({**record, 'shard': 'part2'})
    yield json.dumps({**record, 'key': 'other'})
    yield json.dumps({**record, 'digest': None})
    yield json.dumps({name: value for name, value in record.items() if name != 'result'})


@pytest.mark.parametrize('number', range(8))
def test_a_record_that_does_not_fit_is_done_again(number, tmp_path):
    attempts = tmp_path / 'tried'
    attempts.mkdir()
    work = functools.partial(square_or_die, str(attempts), -1, 0)
    run_tasks(work, SHARDS, tmp_path / 'records', 'k')
    path = tmp_path / 'records/part3.json'
    path.write_text(list(damaged(path.read_text()))[number])
    assert 'part3' not in read_records(tmp_path / 'records', 'k', SHARDS)
    assert run_tasks(work, SHARDS, tmp_path / 'records', 'k') == SQUARES
    assert tried(attempts) == [0, 1, 2, 3, 3, 4, 5, 6, 7]


@pytest.mark.parametrize('name', ['../x', '/etc/x', 'a/b', '', '.hidden', 'x' * 121, 'a\n'])
def test_records_never_leave_their_folder(name, tmp_path):
    with pytest.raises(ValueError, match='a shard is named by letters'):
        run_tasks(square, {name: 1}, tmp_path / 'records', 'k')
    with pytest.raises(ValueError, match='a shard is named by letters'):
        remove_records(tmp_path, [name])
    assert list(tmp_path.iterdir()) == []


def test_only_the_records_are_removed(tmp_path):
    run_tasks(square, SHARDS, tmp_path, 'k')
    (tmp_path / 'notes.txt').touch()
    remove_records(tmp_path, SHARDS)
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


@pytest.mark.parametrize('jobs', [1, 2])
def test_an_error_of_the_work_comes_as_it_is(jobs, tmp_path):
    with pytest.raises(ValueError, match=r'^shard \d cannot be read$'):
        run_tasks(refuse, SHARDS, tmp_path, 'k', Workers(jobs=jobs))


def test_a_killed_process_is_one_sentence_and_the_rest_is_kept(tmp_path):
    attempts = tmp_path / 'tried'
    attempts.mkdir()
    work = functools.partial(square_or_die, str(attempts), 7, 1)
    with pytest.raises(ChildProcessError, match=r'ended by the system.*finished shards are kept'):
        run_tasks(work, SHARDS, tmp_path / 'records', 'k', Workers(jobs=2))
    kept = read_records(tmp_path / 'records', 'k', SHARDS)
    assert len(kept) >= 5
    assert 'part7' not in kept
    assert run_tasks(work, SHARDS, tmp_path / 'records', 'k', Workers(jobs=2)) == SQUARES
    assert len(tried(attempts)) <= 8 + 2  # beside the killed one at most the one that its neighbour was at


def test_what_is_done_once(tmp_path):
    calls = []
    for _ in range(2):
        assert run_once(lambda: calls.append(1) or 'trained', 'classify', tmp_path, 'k') == 'trained'
    assert len(calls) == 1


@pytest.mark.parametrize(
    ('launcher', 'environment', 'expected'),
    [
        ('torchrun', {'RANK': '1', 'WORLD_SIZE': '3'}, (1, 3)),
        ('slurm', {'SLURM_PROCID': '0', 'SLURM_NTASKS': '2'}, (0, 2)),
        ('none', {'RANK': '1', 'WORLD_SIZE': '3'}, (0, 1)),
    ],
)
def test_ranks_are_read_from_the_launchers_environment(launcher, environment, expected):
    workers = Workers.of(launcher, environment=environment)
    assert (workers.rank, workers.world) == expected


@pytest.mark.parametrize(
    'environment', [{}, {'RANK': '2', 'WORLD_SIZE': '2'}, {'RANK': '-1', 'WORLD_SIZE': '2'}, {'RANK': 'x'}]
)
def test_a_command_that_torchrun_did_not_start(environment):
    with pytest.raises(ValueError, match=r'reads RANK and WORLD_SIZE, found .* start the command with it: torchrun'):
        Workers.of('torchrun', environment=environment)


def rank(number: int, work, folder: Path, said) -> None:
    said.put((number, run_tasks(work, SHARDS, folder, 'k', Workers('slurm', 1, number, 2, patience=2.0))))


def start_ranks(folder: Path, dies_at: int):
    """Two ranks of which the second may die; their processes, and what they say."""
    (folder / 'tried').mkdir()
    context = multiprocessing.get_context('fork')
    said, processes = context.SimpleQueue(), []
    for number in range(2):
        work = functools.partial(square_or_die, str(folder / 'tried'), dies_at if number else -1, 99)
        processes.append(context.Process(target=rank, args=(number, work, folder / 'records', said)))
        processes[-1].start()
    return processes, said


def test_two_ranks_share_the_work_and_both_get_all_of_it(tmp_path):
    processes, said = start_ranks(tmp_path, -1)
    assert sorted([said.get(), said.get()]) == [(0, SQUARES), (1, SQUARES)]
    for process in processes:
        process.join()
    assert tried(tmp_path / 'tried') == list(range(8))
    workers = {json.loads(path.read_text())['worker'] for path in (tmp_path / 'records').glob('*.json')}
    assert len(workers) == 2


def test_the_shards_of_a_rank_that_dies_are_done_again(tmp_path):
    processes, said = start_ranks(tmp_path, 5)  # of rank 1, which has 1, 3, 5, 7
    assert said.get() == (0, SQUARES)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, -signal.SIGKILL]
    assert tried(tmp_path / 'tried') == [0, 1, 2, 3, 4, 5, 5, 6, 7]


@pytest.fixture
def ray():
    """Two processes of a local cluster."""
    module = pytest.importorskip('ray', reason='Ray is not installed')
    module.cloudpickle.register_pickle_by_value(shard_work)  # its processes do not know the folder of the tests
    module.init(address='local', num_cpus=2, include_dashboard=False, logging_level='ERROR', log_to_driver=False)
    yield module
    module.cloudpickle.unregister_pickle_by_value(shard_work)
    module.shutdown()


def test_ray_does_the_shard_of_a_killed_worker_again(ray, tmp_path, monkeypatch):
    """The worker that has shard 5 is killed in the middle; one that kills every worker is given up in one sentence."""
    (tmp_path / 'tried').mkdir()
    work = functools.partial(square_or_die, str(tmp_path / 'tried'), 5, 1)
    workers = Workers.of('ray', jobs=2)
    done = run_tasks(work, SHARDS, tmp_path / 'records', 'k', workers)
    assert list(done.items()) == list(SQUARES.items())
    assert tried(tmp_path / 'tried') == [0, 1, 2, 3, 4, 5, 5, 6, 7]
    assert read_records(tmp_path / 'records', 'k', SHARDS) == SQUARES
    with pytest.raises(ValueError, match=r'^shard \d cannot be read$'):
        run_tasks(refuse, SHARDS, tmp_path / 'errors', 'k', workers)
    monkeypatch.setattr(tasks, 'RETRIES', 0)
    (tmp_path / 'again').mkdir()
    work = functools.partial(square_or_die, str(tmp_path / 'again'), 0, 99)
    with pytest.raises(ChildProcessError, match=r'ended by the system.*tried 1 times'):
        run_tasks(work, {'part0': 0}, tmp_path / 'given up', 'k', workers)
    assert tried(tmp_path / 'again') == [0]
    assert ray.is_initialized()  # whoever started it ends it
