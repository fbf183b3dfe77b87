# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the benchmarks share: interleaved timing, peak memory, and rows that say whether a target is met."""

from __future__ import annotations

import json
import operator
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time

import torch

COMPARISONS = {'≤': operator.le, '≥': operator.ge, '<': operator.lt}


@dataclass
class Row:
    """One line of docs/benchmarks.md: two values measured side by side, and what was asked of their ratio.

    ``figure`` is what the target speaks of, a ratio unless ``unit_of_figure`` says otherwise; ``target`` reads like
    ``≤ 1.03`` or ``≥ 20``, None where none was set.
    """

    what: str
    ours: str
    alternative: str = ''
    alternative_value: str = ''
    figure: float | None = None
    unit_of_figure: str = '×'
    target: str | None = None
    note: str = ''

    @property
    def met(self) -> str:
        """``yes``, ``no``, or nothing where there is no target or no figure."""
        if self.target is None or self.figure is None:
            return ''
        sign, bound = self.target.split()
        return 'yes' if COMPARISONS[sign](self.figure, float(bound)) else 'no'


def save_rows(rows: Sequence[Row], path: Path | None) -> None:
    """Hand the rows over as JSON; written to a temporary name first."""
    if path is None:
        return
    part = path.with_name(f'{path.name}.part')
    part.write_text(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False))
    os.replace(part, path)


@dataclass
class Timing:
    """Seconds of the calls of one job, round by round."""

    wall: list[float]
    cpu: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.cpu)


def interleaved(jobs: dict[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, Timing]:
    """Time jobs in turn, in alternating order, so that whatever else the machine does falls on all of them alike."""
    times = {name: Timing([], []) for name in jobs}
    for number in range(-warm_up, rounds):
        for name in list(jobs)[:: -1 if number % 2 else 1]:
            wall, cpu = perf_counter(), process_time()
            jobs[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            wall, cpu = perf_counter() - wall, process_time() - cpu
            if number >= 0:
                times[name].wall.append(wall)
                times[name].cpu.append(cpu)
    return times


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(ours, theirs))


def peak_bytes(job: Callable[[], object]) -> int:
    """Largest sum of tensor memory during the job, over what was there before: counted by torch's own allocator."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        job()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        job()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == '[memory]']
    now = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def load_average() -> str:
    """What the machine was doing besides, as Linux counts it over one minute."""
    return f'{os.getloadavg()[0]:.1f}'
