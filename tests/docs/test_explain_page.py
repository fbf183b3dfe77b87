# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""docs/explain.md documents every map method: class, formula, where the formula stands; a control says what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmentropy.explain import METHODS
from mmentropy.registry import EXPLAINERS

ROOT = Path(__file__).resolve().parents[2]
ROWS = {
    row.split('`')[1]: row
    for row in (ROOT / 'docs/explain.md').read_text(encoding='utf-8').splitlines()
    if row.startswith('| `') and row.count(' | ') >= 4
}


def test_every_method_has_its_row_and_no_other_has():
    assert list(ROWS) == [name for name in ROWS if name in METHODS]
    assert set(ROWS) == set(METHODS)


@pytest.mark.parametrize('method', METHODS)
def test_row_names_class_and_formula(method):
    kind = EXPLAINERS.get(METHODS[method])
    _, name, shown, _, where = ROWS[method].strip('|').split(' | ')
    assert name.strip() == f'`{kind.__name__}`'
    assert len(shown) > 10
    module = where.strip().strip('`')
    assert any((ROOT / 'mmentropy/ops' / folder / f'{module}.py').is_file() for folder in ('', 'mapping'))
    assert ('no place of its own' in shown) == (not kind.has_place)
