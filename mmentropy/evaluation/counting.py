# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The base of the metrics: they keep counts, never maps, and add them up over processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size
from mmengine.evaluator import BaseMetric

from .case_counter import UNIT, CaseCounter, Counts, add_counts, fixed
from .samples import check_drawing

__all__ = ['UNIT', 'CountingMetric', 'Counts', 'add_counts', 'fixed', 'reduce_counts']


class CountingMetric(CaseCounter, BaseMetric):
    """A metric whose whole state is a handful of int64 arrays: constant memory, exact in any number of processes.

    A subclass gives :meth:`count_case` and :meth:`figures`, see
    :class:`~mmentropy.evaluation.case_counter.CaseCounter`.

    Samplers pad the last round by repeating samples. As in mmengine, sample k of rank r has place ``k * world + r``,
    and places from ``size`` on are repeats: the counts of the last few samples wait until :meth:`evaluate` knows the
    size.

    Args:
        grid: ``sample`` draws maps where the model says that their locations look (``map_grid``); ``half_pixel`` as
            ``cv2.resize`` does whatever it says, for comparison with published figures.
        collect_device, prefix: mmengine's.

    >>> class Images(CountingMetric):
    ...     def count_case(self, case):
    ...         return {'images': np.array(1)}
    ...     def figures(self, totals):
    ...         return {'images': int(totals['images'])}
    >>> metric = Images()
    >>> metric.process(None, [{}, {}, {}])  # the last one is a sampler's padding
    >>> metric.evaluate(size=2)
    {'wsol/images': 2}
    """

    default_prefix = 'wsol'
    #: How many samples' counts may wait; mmengine's samplers repeat one a process at most.
    pending_size = 8

    def __init__(self, collect_device: str = 'cpu', prefix: str | None = None, grid: str = 'sample') -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.grid = check_drawing(grid)
        self._reset()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count a batch; the predictions are not kept."""
        for sample in data_samples:
            self._pending.append(self.count(sample))
            self._seen += 1
            if len(self._pending) > self.pending_size:
                add_counts(self._totals, self._pending.popleft())

    def compute_metrics(self, results: list) -> dict:
        """Not used: the counts are reduced in :meth:`evaluate`."""
        return {}

    def evaluate(self, size: int) -> dict[str, float]:
        """Drop the padding, add up the counts of all processes, compute the figures, and start afresh.

        Args:
            size: number of images of the data set.

        Returns:
            name → figure, the same in every process.
        """
        rank, world = get_rank(), get_world_size()
        mine = max(0, -(-(size - rank) // world))
        padded = max(0, self._seen - mine)
        if padded > len(self._pending):
            raise ValueError(
                f'{type(self).__name__} saw {self._seen} samples in process {rank}, but a data set of {size} gives it '
                f'{mine}: padding of more than {self.pending_size} a process is not understood'
            )
        for _ in range(padded):
            self._pending.pop()
        for counts in self._pending:
            add_counts(self._totals, counts)
        totals = reduce_counts(self._totals)
        self._reset()
        if not totals:
            raise ValueError(f'{type(self).__name__} saw no sample; is the evaluated split empty?')
        results = self.figures(totals)
        return {f'{self.prefix}/{name}' if self.prefix else name: value for name, value in results.items()}

    def _reset(self) -> None:
        self._totals: Counts = {}
        self._pending: deque[Counts] = deque()
        self._seen = 0


def reduce_counts(totals: Counts) -> Counts:
    """The sum over all processes; they may know different names (a process without samples knows none)."""
    if get_world_size() == 1:
        return totals
    shapes: dict[str, tuple[int, ...]] = {}
    for known in all_gather_object({name: value.shape for name, value in totals.items()}):
        shapes |= known
    if not shapes:
        return {}
    names = sorted(shapes)
    mine = [totals.get(name, np.zeros(shapes[name], np.int64)).ravel() for name in names]
    summed = torch.from_numpy(np.concatenate(mine))
    all_reduce(summed, op='sum')
    ends = np.cumsum([part.size for part in mine])
    return {name: part.reshape(shapes[name]) for name, part in zip(names, np.split(summed.numpy(), ends[:-1]))}
