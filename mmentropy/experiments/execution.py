# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The runs of a comparison, some at once: each in a process of its own, so that none that fails ends the others."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.context import BaseContext
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from rich.console import Console

from mmentropy.command_line import first_line
from mmentropy.processes import children_die_with_us

from .comparison import Run, figures_of
from .tables import columns_of, summarize, write_tables

LOG = 'console.log'
#: Imported once, and then there in every process.
PRELOADED = ['mmpretrain.models', 'mmentropy.models', 'mmentropy.datasets.readers.base']
PRELOADED += ['mmentropy.experiments.execution']


def execute_and_tabulate(
    runs: Sequence[Run],
    out: str | Path,
    columns: Sequence[str] | None = None,
    usual: Sequence[str] = (),
    jobs: int | None = None,
    dry_run: bool = False,
) -> dict[str, str]:
    """:func:`execute_runs` with a line on stderr for each event, and the tables written anew after every run.

    Args:
        runs, jobs: as in :func:`execute_runs`.
        out, columns, usual: as in :class:`ComparisonLog`.
        dry_run: say what there is to do, and write the tables of what is finished.

    Returns:
        directory -> error of the runs that failed.
    """
    log = ComparisonLog(runs, out, columns, usual)
    log.tell_plan(each=dry_run)
    failed = {} if dry_run else execute_runs(log.missing, jobs, log)
    log.tell_end()
    return failed


class ComparisonLog:
    """Tells what happens to the runs of a comparison, on stderr, and keeps its tables.

    Args:
        runs: all that the tables are about; each directory counts once.
        out: see :func:`~mmentropy.experiments.tables.write_tables`.
        columns: of the Markdown and LaTeX tables; by default those of ``usual`` that there are, of each evaluation.
        usual: names of figures.

    >>> log = ComparisonLog([Run('a', 'configs/demo/resnet18_partshapes.py', 0, Path('work/a/seed0'))], 'work/table')
    >>> [run.name for run in log.missing]
    ['a']
    """

    def __init__(
        self, runs: Sequence[Run], out: str | Path, columns: Sequence[str] | None = None, usual: Sequence[str] = ()
    ) -> None:
        self.runs, self.out, self.columns, self.usual = runs, out, columns, usual
        self.states = {run: run.state() for run in {run.directory: run for run in runs}.values()}
        self.figures = {run.directory: figures_of(run) for run, state in self.states.items() if state == 'finished'}
        self.begin, self.done, self.total = time.time(), 0, len(self.missing)
        self.console = Console(stderr=True, soft_wrap=True, highlight=False)

    @property
    def missing(self) -> list[Run]:
        """What is not finished yet."""
        return [run for run, state in self.states.items() if state != 'finished']

    def tell_plan(self, each: bool = False) -> None:
        """How many runs there are of each state; with ``each``, the state of every run."""
        states = list(self.states.values())
        counts = ', '.join(f'{states.count(state)} {state}' for state in dict.fromkeys(states))
        self.console.print(f'{len(states)} runs: {counts}')
        for run, state in self.states.items() if each else ():
            self.console.print(f'  {run.name} seed {run.seed}: {state}')

    def __call__(self, run: Run, event: str) -> None:
        """``started``, ``finished``, or what went wrong."""
        left = ''
        if event != 'started':
            if event == 'finished':
                self.states[run], self.figures[run.directory] = event, figures_of(run)
            self.write_tables()
            self.done += 1
            left = self._time_left()
        self.console.print(f'{time.strftime("%H:%M:%S")} {run.name} seed {run.seed}: {event}{left}')

    def _time_left(self) -> str:
        left = self.total - self.done
        return f', {left} left, about {left * (time.time() - self.begin) / self.done / 60:.0f} min'

    def write_tables(self) -> list[Path]:
        """The tables of the runs that are finished; a row without a finished run is there, with 0 runs."""
        repeats: dict[str, list[dict[str, float]]] = {run.name: [] for run in self.runs}
        for run in self.runs:
            if run.directory in self.figures:
                repeats[run.name].append(self.figures[run.directory])
        table = summarize(repeats)
        there = columns_of(table)
        wanted = [key for key in self.columns or () if key in there]
        return write_tables(self.out, table, wanted or [key for key in there if key.split(':')[-1] in self.usual])

    def tell_end(self) -> None:
        """Write the tables and say where; and which columns were asked for that no run has."""
        for path in self.write_tables():
            self.console.print(f'wrote {path}')
        there = list(dict.fromkeys(key for figures in self.figures.values() for key in figures))
        strange = [key for key in self.columns or () if key not in there]
        if strange and there:
            self.console.print(f'no run has the figure {strange[0]}; there are {", ".join(there)}')


def execute_runs(
    runs: Sequence[Run],
    jobs: int | None = None,
    report: Callable[[Run, str], None] = lambda run, event: None,
) -> dict[str, str]:
    """Do what is missing of the runs, each in a process of its own: one a GPU, or one on the CPU.

    A thread attends to each process: it waits for a free device, starts the process and waits for its end.

    Args:
        runs: what is wanted. Finished ones are not touched.
        jobs: processes at once; the number of GPUs (or 1) by default.
        report: called with a run and ``started``, ``finished`` or what went wrong.

    Returns:
        directory -> error in one sentence, of the runs that failed; the others went on.
    """
    gpus = torch.cuda.device_count()
    jobs = jobs or max(1, gpus)
    devices: SimpleQueue[int | None] = SimpleQueue()
    for slot in range(jobs):
        devices.put(slot % gpus if gpus else None)
    processes = _Processes(process_context(gpus), devices, report)
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(jobs) as threads:
        ends = {threads.submit(processes.attend, run): run for run in runs if run.state() != 'finished'}
        try:
            for end in as_completed(ends):
                run, error = ends[end], end.result()
                if error is not None:
                    failed[str(run.directory)] = error
                report(run, error or 'finished')
        finally:  # of an interrupted comparison
            threads.shutdown(wait=False, cancel_futures=True)
            processes.end()
    return failed


def process_context(gpus: int) -> BaseContext:
    """How processes start: from one that has everything imported, or anew where CUDA would not survive that."""
    if gpus:
        return multiprocessing.get_context('spawn')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(PRELOADED)
    return context


class _Processes:
    """The processes of :func:`execute_runs`.

    Args:
        context: how they start.
        devices: indices of the GPUs that are free; None stands for the CPU.
        report: see :func:`execute_runs`.
    """

    def __init__(self, context: Any, devices: SimpleQueue[int | None], report: Callable[[Run, str], None]) -> None:
        self.context, self.devices, self.report = context, devices, report
        self.active: set[Any] = set()
        self.ending = threading.Event()

    def attend(self, run: Run) -> str | None:
        """Execute a run on the next free device; its error in one sentence, or None."""
        device = self.devices.get()
        process = self.context.Process(target=_execute_apart, args=(run, device))
        try:
            if self.ending.is_set():
                return 'not started'
            process.start()
            self.active.add(process)
            self.report(run, 'started')
            process.join()
        finally:
            self.active.discard(process)
            self.devices.put(device)
        return _error_of(run, process.exitcode) if process.exitcode else None

    def end(self) -> None:
        """Start no more, and end those that run."""
        self.ending.set()
        for process in list(self.active):
            process.terminate()


def _execute_apart(run: Run, device: int | None) -> None:
    """The body of a run's process: its own log, its own GPU, and no life without its parent."""
    children_die_with_us()
    threading.Thread(target=_die_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    if device is not None:
        os.environ['CUDA_VISIBLE_DEVICES'] = device_name(device, os.environ.get('CUDA_VISIBLE_DEVICES'))
    run.directory.mkdir(parents=True, exist_ok=True)
    error_file = run.directory / 'error.txt'
    error_file.unlink(missing_ok=True)
    with open(run.directory / LOG, 'a', encoding='utf-8') as log:
        sys.stdout.flush(), sys.stderr.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            run.execute()
        except BaseException as error:
            traceback.print_exc()
            error_file.write_text(f'{type(error).__name__}: {first_line(error)}\n', encoding='utf-8')
            sys.stderr.flush()
            raise SystemExit(1) from None


def device_name(device: int, visible: str | None) -> str:
    """What ``CUDA_VISIBLE_DEVICES`` must be for one of the visible GPUs alone.

    >>> device_name(1, None), device_name(1, '5,GPU-8932f937')
    ('1', 'GPU-8932f937')
    """
    return visible.split(',')[device] if visible else str(device)


def _die_with(parent: Any) -> None:
    """A killed comparison must not leave a training behind that a restarted one would meet in the same directory."""
    parent.join()
    os._exit(1)


def _error_of(run: Run, code: int) -> str:
    path = run.directory / 'error.txt'
    said = path.read_text(encoding='utf-8').strip() if path.is_file() else f'its process ended with code {code}'
    return f'{said} (log: {run.directory / LOG})'
