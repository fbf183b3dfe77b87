# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What counts samples: a handful of int64 arrays a sample, which are added up by name, and figures from their sums.

Nothing of torch or the hosts is imported here, so that the maps of a folder are counted by processes without them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from .samples import Case

Counts = dict[str, np.ndarray]

#: Real numbers are summed as integers in units of 2⁻³², so that a sum does not depend on the order of its terms:
#: one process and three give the same last digit.
UNIT = 1 << 32


def fixed(value: float) -> np.ndarray:
    """A real number as an integer count of ``1 / UNIT``, for sums that do not depend on their order."""
    if not np.isfinite(value):
        raise ValueError(f'cannot sum {value}: a metric met NaN or an infinite value')
    return np.array(round(float(value) * UNIT), dtype=np.int64)


class CaseCounter(ABC):
    """Counts one sample at a time, and makes figures of the sums.

    A subclass gives :meth:`count_case` (one sample → arrays, which are added up by name) and :meth:`figures` (totals →
    results). A name always has one shape; a name that a sample does not give counts as zero (classes not seen yet).

    Attributes:
        grid: one of :data:`mmentropy.evaluation.samples.DRAWINGS`.
        prefix: what the figures' names begin with.

    >>> class Images(CaseCounter):
    ...     grid, prefix = 'sample', 'wsol'
    ...     def count_case(self, case):
    ...         return {'images': np.array(1)}
    ...     def figures(self, totals):
    ...         return {'images': int(totals['images'])}
    >>> Images().count({})
    {'images': array(1)}
    """

    grid: str
    prefix: str | None

    @property
    def reader(self) -> str:
        """How a message calls who reads a sample."""
        return type(self).__name__

    @abstractmethod
    def count_case(self, case: Case) -> Counts:
        """The counts of one sample; what is wrong with it is a ValueError without its name."""

    @abstractmethod
    def figures(self, totals: Counts) -> dict[str, float]:
        """The results, from the counts of the whole set."""

    def count(self, sample: dict) -> Counts:
        """The counts of one sample.

        Raises:
            KeyError: for a field that it lacks.
            ValueError: for one that is wrong; both name the sample.
        """
        case = Case(sample, self.reader, self.grid)
        try:
            return self.count_case(case)
        except ValueError as error:
            raise ValueError(f'{case.name}: {error}') from error


def add_counts(totals: Counts, counts: Counts) -> None:
    """Add ``counts`` to ``totals`` in place, by name; a name that is not there counts as zero."""
    for name, value in counts.items():
        value = np.asarray(value, dtype=np.int64)
        totals[name] = totals[name] + value if name in totals else value.copy()
