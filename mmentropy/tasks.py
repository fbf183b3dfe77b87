# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Work cut into named shards, done by whoever a launcher starts; a folder of finished shards' records is the truth.

=============  =======================================================================================================
``none``       processes of this machine
``torchrun``   the command was started by ``torchrun``, on one machine or many: each rank does its share
``slurm``      the command was started by ``srun``: each task does its share
``ray``        Ray schedules, repeats what a lost machine had, and collects: the cluster at ``RAY_ADDRESS``, else one
               of this machine's cores
=============  =======================================================================================================

Scheduling, restarts and queues are the launchers' own. What is here is the contract between them and the work: a shard
is a name and an argument; its result is a JSON value; when it is done, ``<folder>/<name>.json`` is written whole. So a
run that was killed anywhere goes on where it was, and who did which shard does not show in the result. The folder is on
a file system that all machines see.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import platform
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import cv2

from mmentropy.command_line import LAUNCHER_ENV, TASK_LAUNCHERS
from mmentropy.processes import die_with_parent
from mmentropy.safe_files import load_json, write_whole

LAUNCHERS = TASK_LAUNCHERS
#: Where torchrun and srun leave rank and number of processes.
RANK_ENV = {'torchrun': LAUNCHER_ENV['pytorch'][:2], 'slurm': LAUNCHER_ENV['slurm'][:2]}
#: A record's file is named by its shard: one plain file name.
SHARD_NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.+-]{0,119}')
#: How often Ray does a shard again whose process or machine was lost.
RETRIES = 3
LOST = (
    'a process that worked on a shard was ended by the system, most often for want of memory; '
    'finished shards are kept: start again, with fewer jobs'
)

Work = Callable[[Any], Any]


@dataclass(frozen=True)
class Workers:
    """Who does the work, and which of them this process is; :meth:`of` reads it from the launcher's environment.

    Attributes:
        launcher: one of :data:`LAUNCHERS`.
        jobs: processes on this machine, for ``none`` and for a Ray that has no cluster.
        rank: of this process, for ``torchrun`` and ``slurm``.
        world: number of processes, for the same.
        gpus: GPUs that a shard needs, for Ray; a part of one is fine.
        patience: seconds without a sign of life after which a rank counts as lost, and its shards are done again.
        context: how processes start (``none``); None forks, which shares what is loaded, but not with CUDA.

    >>> Workers.of('none', jobs=2)
    Workers(launcher='none', jobs=2, rank=0, world=1)
    >>> Workers.of('torchrun', environment={'RANK': '1', 'WORLD_SIZE': '4'}).is_first
    False
    """

    launcher: str = 'none'
    jobs: int = 1
    rank: int = 0
    world: int = 1
    gpus: float = 0.0
    patience: float = 60.0
    context: BaseContext | None = None

    def __repr__(self) -> str:
        told = (f'{name}={getattr(self, name)!r}' for name in ('launcher', 'jobs', 'rank', 'world'))
        return f'Workers({", ".join(told)})'

    @classmethod
    def of(cls, launcher: str, jobs: int = 1, environment: Mapping[str, str] = os.environ, **options: Any) -> Workers:
        """The workers of a ``--launcher``.

        Raises:
            ValueError: for an unknown launcher, and where torchrun or srun has not started this process.
            ImportError: for ``ray`` without the package.
        """
        if launcher not in LAUNCHERS:
            raise ValueError(f'--launcher is one of {", ".join(LAUNCHERS)}, got {launcher!r}')
        if launcher == 'ray':
            _ray()
        if launcher not in RANK_ENV:
            return cls(launcher, jobs, **options)
        told = [environment.get(name, '') for name in RANK_ENV[launcher]]
        if not all(value.isdigit() for value in told) or not int(told[0]) < int(told[1]):
            start = {'torchrun': 'torchrun --nproc-per-node 2', 'slurm': 'srun --ntasks 2 python'}[launcher]
            raise ValueError(
                f'--launcher {launcher} reads {" and ".join(RANK_ENV[launcher])}, found {told}; '
                f'start the command with it: {start} TOOL …'
            )
        return cls(launcher, 1, int(told[0]), int(told[1]), **options)

    @property
    def is_first(self) -> bool:
        """Whether this process speaks and writes for all: the only one, or rank 0."""
        return self.rank == 0


def run_tasks(
    work: Work,
    shards: Mapping[str, Any],
    folder: str | Path,
    key: str,
    workers: Workers | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    wait_for_all: bool = True,
) -> dict[str, Any]:
    """Do every shard that has no record yet, and give the results of all.

    Each process of ``torchrun`` and ``slurm`` calls this with the same arguments; elsewhere one process calls it. A
    shard may be done twice where a machine was lost or only slow: it must give the same each time, and write files
    whole.

    Args:
        work: argument of a shard → JSON value. It is pickled: a function of a module, a ``functools.partial`` of one,
            or an object with ``__call__``.
        shards: name → argument. Names are file names; the same in every process and after a restart.
        folder: of the records, seen by all machines.
        key: of everything that a result depends on beside the shard's name: a record with another key is not used.
        workers: who does it; this process alone by default.
        progress: called with the number of finished shards of all workers, and their total.
        wait_for_all: False lets a rank other than the first go when its own share is done; it then gets that alone.

    Returns:
        name → result, in the order of ``shards``.

    Raises:
        ValueError: for a name that is no plain file name; what ``work`` raises comes as it is.
        ChildProcessError: if a process was killed, more often than the launcher does a shard again.

    >>> run_tasks(abs, {'first': -3, 'second': 4}, 'records', key='absolute values')
    {'first': 3, 'second': 4}
    """
    workers, folder = workers or Workers(), Path(folder)
    check_shard_names(shards)
    folder.mkdir(parents=True, exist_ok=True)
    task = _Task(work, folder, key)
    results = read_records(folder, key, shards)
    progress(len(results), len(shards))
    todo = {name: argument for name, argument in shards.items() if name not in results}
    if workers.launcher in RANK_ENV:
        _by_rank(task, shards, results, workers, progress, wait_for_all)
    elif todo:
        # Ray is started for one shard, too: the machine that has the GPU may be another one.
        done = _by_ray(task, todo, workers) if workers.launcher == 'ray' else _by_processes(task, todo, workers)
        for name, result in done:
            results[name] = result
            progress(len(results), len(shards))
    return {name: results[name] for name in shards if name in results}


def run_once(action: Callable[[], Any], name: str, folder: str | Path, key: str, workers: Workers | None = None) -> Any:
    """What is no work for many: the first process does it here, the others wait for its record; see :func:`run_tasks`.

    Returns:
        The action's result, a JSON value, in every process.

    >>> run_once(lambda: 'trained', 'classify', 'records', key='settings')
    'trained'
    """
    workers = workers or Workers()
    here = workers if workers.launcher in RANK_ENV else Workers()
    return run_tasks(_Ignoring(action), {name: None}, folder, key, here)[name]


def read_records(folder: str | Path, key: str, names: Mapping[str, Any] | list[str]) -> dict[str, Any]:
    """Results of the shards that are finished under this key; damaged records and those of another key do not count.

    >>> _ = run_tasks(abs, {'a': -1}, 'finished', key='k')
    >>> read_records('finished', 'k', ['a', 'b']), read_records('finished', 'another', ['a'])
    ({'a': 1}, {})
    """
    there = set(os.listdir(folder)) if Path(folder).is_dir() else set()
    found = {}
    for name in names:
        if f'{name}.json' in there:
            record = _record(Path(folder, f'{name}.json'))
            whole = 'result' in record and record.get('digest') == _digest(record['result'])
            if whole and record.get('key') == key and record.get('shard') == name:
                found[name] = record['result']
    return found


def remove_records(folder: str | Path, names: Mapping[str, Any] | list[str]) -> None:
    """Remove the records of these shards, and the folder if nothing else is in it.

    >>> _ = run_tasks(abs, {'a': -1}, 'finished', key='k')
    >>> remove_records('finished', ['a'])
    >>> Path('finished').exists()
    False
    """
    check_shard_names(names)
    folder = Path(folder)
    for name in names:
        (folder / f'{name}.json').unlink(missing_ok=True)
    for path in folder.glob('rank*.alive'):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def check_shard_names(names: Mapping[str, Any] | list[str]) -> None:
    """ValueError for a name that is no plain file name: records never leave their folder.

    >>> check_shard_names(['../x'])
    Traceback (most recent call last):
    ValueError: a shard is named by letters, digits and _ . + - (at most 120, not . or - first), got '../x'
    """
    for name in names:
        if not SHARD_NAME.fullmatch(name):
            raise ValueError(
                f'a shard is named by letters, digits and _ . + - (at most 120, not . or - first), got {name!r}'
            )


def _record(path: Path) -> dict[str, Any]:
    try:
        return load_json(path)
    except (ValueError, OSError):
        return {}


def _digest(result: Any) -> str:
    return hashlib.blake2b(json.dumps(result).encode(), digest_size=12).hexdigest()


@dataclass(frozen=True)
class _Ignoring:
    """An action as the work of a shard without an argument."""

    action: Callable[[], Any]

    def __call__(self, _: Any) -> Any:
        return self.action()


@dataclass(frozen=True)
class _Task:
    """Work, and where its records go."""

    work: Work
    folder: Path
    key: str
    #: Where relative paths begin, on whatever machine.
    start: str = field(default_factory=os.getcwd)

    def do(self, name: str, argument: Any) -> Any:
        """Do one shard, and write its record."""
        began = time.monotonic()
        result = json.loads(json.dumps(self.work(argument)))  # as whoever reads the record gets it
        content = {'key': self.key, 'shard': name, 'digest': _digest(result), 'result': result}
        content |= {'worker': f'{platform.node()}:{os.getpid()}', 'seconds': round(time.monotonic() - began, 3)}
        write_whole(self.folder / f'{name}.json', json.dumps(content))
        return result


# --- processes of this machine --------------------------------------------------------------------------------------


_task: _Task | None = None


def one_thread() -> None:
    """One thread a process: the processes are the parallelism, and a forked OpenMP pool would hang."""
    cv2.setNumThreads(0)
    if 'torch' in sys.modules:  # boxes are counted without it
        sys.modules['torch'].set_num_threads(1)


def _start(task: _Task, parent: int | None) -> None:
    global _task
    if parent is not None:
        die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends us
    _task = task
    one_thread()


def _in_process(name: str, argument: Any) -> tuple[str, Any]:
    if _task is None:
        raise RuntimeError('the process was not started by run_tasks')
    return name, _task.do(name, argument)


def _by_processes(task: _Task, todo: dict[str, Any], workers: Workers) -> Iterator[tuple[str, Any]]:
    """(name, result) of each shard, as they are ready."""
    if workers.jobs <= 1 or len(todo) <= 1:
        for name, argument in todo.items():
            yield name, task.do(name, argument)
        return
    context = workers.context or _fork()
    # Workers of a fork server are not our children: their work has to see to it that they end with us.
    parent = None if context.get_start_method() == 'forkserver' else os.getpid()
    try:
        with ProcessPoolExecutor(workers.jobs, context, _start, (task, parent)) as pool:
            waiting, queue = set(), iter(todo.items())
            while True:
                for name, argument in queue:  # two for each process: none waits, and a fault is not behind thousands
                    waiting.add(pool.submit(_in_process, name, argument))
                    if len(waiting) >= 2 * workers.jobs:
                        break
                if not waiting:
                    return
                ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in ready:
                    yield future.result()
    except BrokenProcessPool:
        raise ChildProcessError(LOST) from None


def _fork() -> BaseContext:
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context('fork' if 'fork' in methods else 'spawn')


# --- torchrun and Slurm ---------------------------------------------------------------------------------------------


def _by_rank(
    task: _Task,
    shards: Mapping[str, Any],
    results: dict[str, Any],
    workers: Workers,
    progress: Callable[[int, int], None],
    wait_for_all: bool,
) -> None:
    """Shard i is rank i modulo the world's; the first rank that lives takes those of ranks that show no life."""
    owner = {name: i % workers.world for i, name in enumerate(shards)}
    with _alive(task.folder, workers) as signs:
        for name, argument in shards.items():
            if owner[name] == workers.rank and name not in results:
                results[name] = task.do(name, argument)
                results |= read_records(task.folder, task.key, [n for n in shards if n not in results])
                progress(len(results), len(shards))
        while (wait_for_all or workers.is_first) and len(results) < len(shards):
            results |= read_records(task.folder, task.key, [n for n in shards if n not in results])
            progress(len(results), len(shards))
            lost = signs.lost()
            left = [name for name in shards if name not in results and owner[name] in lost]
            if left and all(rank in lost for rank in range(workers.rank)):
                results[left[0]] = task.do(left[0], shards[left[0]])
            elif len(results) < len(shards):
                time.sleep(min(1.0, workers.patience / 10))


class _Signs:
    """Which ranks show life, by this machine's clock: a sign is a file whose time changes."""

    def __init__(self, folder: Path, workers: Workers) -> None:
        self.folder, self.workers = folder, workers
        now = time.monotonic()
        self.seen = dict.fromkeys(range(workers.world), (0, now))

    def path(self, rank: int) -> Path:
        return self.folder / f'rank{rank}.alive'

    def lost(self) -> set[int]:
        """Ranks, other than this one, whose sign has not changed for the time of patience."""
        now = time.monotonic()
        for rank, (stamp, _) in self.seen.items():
            try:
                new = self.path(rank).stat().st_mtime_ns
            except OSError:
                continue
            if new != stamp:
                self.seen[rank] = (new, now)
        silent = {rank for rank, (_, since) in self.seen.items() if now - since > self.workers.patience}
        return silent - {self.workers.rank}


@contextmanager
def _alive(folder: Path, workers: Workers) -> Iterator[_Signs]:
    """Show life while the block runs, from a thread of its own."""
    signs, stop = _Signs(folder, workers), threading.Event()

    def beat() -> None:
        while True:
            signs.path(workers.rank).touch()
            if stop.wait(workers.patience / 6):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield signs
    finally:
        stop.set()
        thread.join()


# --- Ray ------------------------------------------------------------------------------------------------------------


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ImportError('--launcher ray needs Ray, which is not installed: pip install "mmentropy[ray]"') from None
    return ray


def _by_ray(task: _Task, todo: dict[str, Any], workers: Workers) -> Iterator[tuple[str, Any]]:
    """(name, result) of each shard, as they are ready."""
    ray = _ray()
    started = not ray.is_initialized()
    if started:
        os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
        address = os.environ.get('RAY_ADDRESS')
        local = {} if address else {'num_cpus': workers.jobs, 'include_dashboard': False}
        ray.init(address=address or 'local', logging_level='ERROR', log_to_driver=False, **local)
    try:
        shared = ray.put(task)  # goes to each machine once
        remote = ray.remote(_on_machine).options(
            num_cpus=1, num_gpus=workers.gpus, max_retries=RETRIES, scheduling_strategy='SPREAD'
        )
        waiting = [remote.remote(shared, name, argument) for name, argument in todo.items()]
        while waiting:
            (ready,), waiting = ray.wait(waiting, num_returns=1)
            yield ray.get(ready)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from None
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError):
        raise ChildProcessError(f'{LOST} (it was tried {RETRIES + 1} times)') from None
    finally:
        if started:
            ray.shutdown()


def _on_machine(task: _Task, name: str, argument: Any) -> tuple[str, Any]:
    if os.path.isdir(task.start):
        os.chdir(task.start)
    one_thread()
    return name, task.do(name, argument)
