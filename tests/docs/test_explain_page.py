# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""docs/explain.md documents every map method: class, formula, where the formula stands; a control says what it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmentropy.explain import METHODS
from mmentropy.registry import EXPLAINERS

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / 'docs/explain.md').read_text(encoding='utf-8').splitlines()
#: name, class, map, source, formula; a bar inside a cell is written \\|
CELLS = [[cell.strip() for cell in re.split(r'(?<!\\)\|', row)[1:-1]] for row in LINES if row.startswith('| `')]
ROWS = {cells[0].strip('`'): cells for cells in CELLS if len(cells) == 5}


def test_every_method_has_its_row_and_no_other_has():
    assert list(ROWS) == [name for name in ROWS if name in METHODS]
    assert set(ROWS) == set(METHODS)


@pytest.mark.parametrize('method', METHODS)
def test_row_names_class_and_formula(method):
    kind = EXPLAINERS.get(METHODS[method])
    _, name, shown, _, where = ROWS[method]
    assert name == f'`{kind.__name__}`'
    assert len(shown) > 10
    module = where.strip('`')
    folder = ROOT / 'mmentropy' if module.startswith('ops/') else ROOT / 'mmentropy/ops/mapping'
    assert (folder / f'{module}.py').is_file()
    assert ('no place of its own' in shown) == (not kind.has_place)
