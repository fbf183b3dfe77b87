# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Figures that others published, under their conditions, to stand beside a run."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from mmentropy.experiments.comparison import Run, figures_of
from mmentropy.experiments.tables import Measured, summarize
from mmentropy.safe_files import write_whole

TABLE = Path(__file__).with_name('reference_figures.csv')
MARK = 'published by others, under their conditions'


@dataclass(frozen=True)
class Reference:
    """One published figure.

    Attributes:
        paper: authors, place and year.
        set: name of the data set, as the configs call it.
        split: on which it was measured.
        method, network: what was measured.
        figure: our name of it where we measure the same; per cent.
        value: as published.
        protocol: how it was measured.
        source: where in the paper it stands.

    >>> references(['glas'])[1].method, references(['glas'])[1].value
    ('CAM-avg', 66.9)
    """

    paper: str
    set: str
    split: str
    method: str
    network: str
    figure: str
    value: float
    protocol: str
    source: str


def references(sets: Sequence[str] | None = None) -> list[Reference]:
    """The published figures, of some sets or of all.

    Raises:
        ValueError: for a set of which there is none.
    """
    with open(TABLE, encoding='utf-8', newline='') as file:
        rows = [Reference(**{**row, 'value': float(row['value'])}) for row in csv.DictReader(file)]
    known = dict.fromkeys(row.set for row in rows)
    for name in sets or ():
        if name not in known:
            raise ValueError(f'there are published figures of {", ".join(known)}, none of {name!r}')
    return [row for row in rows if sets is None or row.set in sets]


def markdown(rows: Sequence[Reference]) -> str:
    """A pipe table of published figures, every column.

    >>> print(markdown(references(['vqa'])).splitlines()[0])
    | paper | set | split | method | network | figure | value | protocol | source |
    """
    names = [field.name for field in fields(Reference)]
    lines = [names, ['--:' if name == 'value' else '---' for name in names]]
    lines += [
        [f'{getattr(row, name):.2f}' if name == 'value' else getattr(row, name) for name in names] for row in rows
    ]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines) + '\n'


def beside(table: Mapping[str, Mapping[str, Measured]], sets: Sequence[str]) -> str:
    """The rows of a comparison, and below them what others published of the same figures and sets, marked as such.

    Published figures that no run has are left out of the table, and counted below it.
    """
    rows = references(sets)
    measured = {key for figures in table.values() for key in figures}
    columns = list(dict.fromkeys(row.figure for row in rows if row.figure in measured))
    lines = [['method', 'measured by', *columns], ['---', '---', *['--:'] * len(columns)]]
    for name, figures in table.items():
        lines.append([name, 'this run', *(figures[key].text(2) if key in figures else '' for key in columns)])
    groups: dict[tuple[str, ...], dict[str, float]] = {}
    for row in rows:
        if row.figure in columns:
            groups.setdefault((row.method, row.network, row.paper, row.set, row.split), {})[row.figure] = row.value
    for (method, network, paper, set_, split), figures in groups.items():
        what = ', '.join(filter(None, (method, network)))
        cells = [f'{figures[key]:.2f}' if key in figures else '' for key in columns]
        lines.append([f'{what} †', f'{paper}; {set_} {split}', *cells])
    text = '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)
    left = sum(row.figure not in columns for row in rows)
    more = f' {left} more of {", ".join(sets)} are figures that no run here has.' if left else ''
    return f'{text}\n\n† {MARK}: docs/reference_figures.md tells which.{more}\n'


def write_beside(runs: Sequence[Run], out: str | Path, sets: Sequence[str]) -> Path:
    """Write :func:`beside` of the finished runs as ``OUT_references.md``."""
    repeats: dict[str, list] = {}
    for run in runs:
        repeats.setdefault(run.name, [])
        if run.state() == 'finished':
            repeats[run.name].append(figures_of(run))
    path = Path(out).with_name(f'{Path(out).name}_references.md')
    write_whole(path, beside(summarize(repeats), sets))
    return path
