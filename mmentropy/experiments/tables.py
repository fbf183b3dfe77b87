# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Tables of repeated measurements, mean ± spread, as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmentropy.safe_files import write_whole

#: Figures of which less is better; the best of a column beyond the spread is set in bold.
LOWER_IS_BETTER = ('loss', 'error', 'part_coverage', 'mass_background')
#: Figures of which neither more nor less is better.
NEITHER = ('entropy', 'threshold')


@dataclass(frozen=True)
class Measured:
    """A figure over its repetitions: ``mean``, ``spread`` (the sample standard deviation; None for one) and ``n``.

    >>> Measured.of([61.0, 61.8, 61.4]).text(), Measured.of([61.0]).text()
    ('61.4 ± 0.4', '61.0')
    """

    mean: float
    spread: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Measured:
        """Summarise at least one value."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))

    def text(self, digits: int = 1, sign: str = '±') -> str:
        """``61.3 ± 0.4``, or ``61.3`` of a single run."""
        mean = f'{self.mean:.{digits}f}'
        return mean if self.spread is None else f'{mean} {sign} {self.spread:.{digits}f}'


Table = Mapping[str, Mapping[str, Measured]]


def summarize(repeats: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, Measured]]:
    """row -> figures of each repetition, to row -> column -> :class:`Measured`.

    A repetition that lacks a figure is left out of that figure, whose ``n`` says so.
    """
    table = {}
    for row, measured in repeats.items():
        columns = list(dict.fromkeys(key for figures in measured for key in figures))
        table[row] = {key: Measured.of([figures[key] for figures in measured if key in figures]) for key in columns}
    return table


def columns_of(table: Table, wanted: Sequence[str] | None = None) -> list[str]:
    """The columns that some row has, in order of appearance; only the ``wanted`` ones if given, in their order.

    Raises:
        KeyError: for a wanted column that no row has, with the ones that are there.
    """
    there = list(dict.fromkeys(key for row in table.values() for key in row))
    missing = [key for key in wanted or () if key not in there]
    if missing and there:
        raise KeyError(f'no run has the figure {missing[0]!r}; there are {", ".join(there)}')
    return there if wanted is None else [key for key in wanted if key in there]


def best_rows(table: Table, column: str) -> set[str]:
    r"""The row that is the best of a column beyond the spread; none where another may be as good.

    A row counts as better than another if its mean differs by more than the spread of that difference over the
    repetitions, :math:`\sqrt{s_1^2 + s_2^2}`. A single run has no spread, so nothing is the best beside it; nor is
    anything in a column that has no better and worse.

    >>> several, one = Measured(61.0, 0.4, 3), Measured(64.0, None, 1)
    >>> best_rows({'a': {'top1': several}, 'b': {'top1': Measured(63.0, 0.5, 3)}}, 'top1')
    {'b'}
    >>> best_rows({'a': {'top1': several}, 'b': {'top1': Measured(61.5, 0.5, 3)}}, 'top1')
    set()
    >>> best_rows({'a': {'top1': several}, 'b': {'top1': one}}, 'top1')
    set()
    """
    cells = {row: figures[column] for row, figures in table.items() if column in figures}
    name = column.lower()
    if len(cells) < 2 or any(word in name for word in NEITHER):
        return set()
    pick = min if any(word in name for word in LOWER_IS_BETTER) else max
    best = pick(cells, key=lambda row: cells[row].mean)
    others = [cell for row, cell in cells.items() if row != best]
    return {best} if all(_differ(cells[best], other) for other in others) else set()


def _differ(one: Measured, other: Measured) -> bool:
    """Whether two means differ by more than their repetitions do."""
    if one.spread is None or other.spread is None:
        return False
    return abs(one.mean - other.mean) > math.hypot(one.spread, other.spread)


def _digits(column: str) -> int:
    return 3 if any(word in column.lower() for word in NEITHER) else 1


def _cells(table: Table, columns: Sequence[str], sign: str, bold: str) -> list[list[str]]:
    best = {column: best_rows(table, column) for column in columns}
    rows = []
    for row, figures in table.items():
        cells = [str(max((figure.n for figure in figures.values()), default=0))]
        for column in columns:
            text = figures[column].text(_digits(column), sign) if column in figures else ''
            cells.append(bold.format(text) if row in best[column] else text)
        rows.append([row, *cells])
    return rows


def markdown_table(table: Table, columns: Sequence[str]) -> str:
    """A pipe table; what is the best of a column beyond the spread is bold."""
    lines = [['method', 'runs', *columns], ['---', *['--:'] * (len(columns) + 1)]]
    lines += _cells(table, columns, '±', '**{}**')
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines) + '\n'


def latex_table(table: Table, columns: Sequence[str]) -> str:
    """A ``tabular`` for booktabs; what is the best of a column beyond the spread is bold."""
    head = ' & '.join(_tex(name) for name in ['method', 'runs', *columns])
    body = _cells(table, columns, r'$\pm$', r'\textbf{{{}}}')
    lines = [' & '.join([_tex(row), *cells]) + r' \\' for row, *cells in body]
    spec = 'l' + 'r' * (len(columns) + 1)
    start = [rf'\begin{{tabular}}{{{spec}}}', r'\toprule', head + r' \\', r'\midrule']
    return '\n'.join([*start, *lines, r'\bottomrule', r'\end{tabular}', ''])


def csv_table(table: Table, columns: Sequence[str]) -> str:
    """Full precision, for further work: row, column, mean, spread, n; one line a figure."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    writer.writerow(['method', 'figure', 'mean', 'spread', 'runs'])
    for row, figures in table.items():
        for column in columns:
            if column in figures:
                cell = figures[column]
                writer.writerow([row, column, cell.mean, '' if cell.spread is None else cell.spread, cell.n])
    return out.getvalue()


def write_tables(out: str | Path, table: Table, columns: Sequence[str] | None = None) -> list[Path]:
    """Write ``out.md`` and ``out.tex`` with the ``columns`` and ``out.csv`` with every figure.

    Returns:
        the three paths. Each is written to a temporary name and renamed.
    """
    out = Path(out)
    if out.suffix in ('.md', '.csv', '.tex'):
        out = out.with_suffix('')
    shown = columns_of(table, columns)
    texts = {
        '.md': markdown_table(table, shown),
        '.csv': csv_table(table, columns_of(table)),
        '.tex': latex_table(table, shown),
    }
    paths = []
    for suffix, text in texts.items():
        path = out.with_name(out.name + suffix)
        write_whole(path, text)
        paths.append(path)
    return paths


def _tex(text: str) -> str:
    """Plain text for LaTeX."""
    for char in ('\\', '&', '%', '$', '#', '_', '{', '}'):
        text = text.replace(char, '\\' + char if char != '\\' else r'\textbackslash ')
    return text
