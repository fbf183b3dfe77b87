# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The notebooks run from top to bottom, and what they find is what their text says."""

from __future__ import annotations

from pathlib import Path

import pytest

nbformat = pytest.importorskip('nbformat', reason='nbformat is not installed: pip install -e ".[test]"')
nbclient = pytest.importorskip('nbclient', reason='nbclient is not installed: pip install -e ".[test]"')

FOLDER = Path(__file__).resolve().parents[2] / 'notebooks'

#: Added as the last cell: values that a broken notebook would miss by far.
CHECKS = {
    'localise_your_images.ipynb': """
assert right >= 0.5, right
assert len(results) == 40 and all(result.maps.shape[1:] == (12, 12) for result in results)
assert max(scores.values()) >= 0.2, scores
""",
    'compare_poolings.ipynb': """
assert all(row[0] >= 0.5 for row in table.values()), table
assert all(abs(sum(row[1:4]) - 1) < 1e-6 for row in table.values())
""",
    'seeds_to_masks.ipynb': """
assert figures['dense CRF'] > figures['seeds'] > 30, figures
assert top >= fixed and abs(top - np.nanmax(curve.miou)) < 1e-12
assert all(set(np.unique(m)) <= {0, *(label + 1 for label in s.labels)} for m, s in zip(crf, scenes))
""",
}


def test_every_notebook_has_a_check():
    assert {path.name for path in FOLDER.glob('*.ipynb')} == set(CHECKS)


@pytest.mark.parametrize('name', CHECKS)
def test_notebook_runs(name, tmp_path, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    notebook = nbformat.read(FOLDER / name, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == 'code']
    assert all(not cell.outputs and cell.execution_count is None for cell in code), f'{name} is stored with outputs'
    notebook.cells.append(nbformat.v4.new_code_cell(CHECKS[name]))
    # The kernel of this very environment, whatever kernels the machine knows.
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name='python3', resources={'metadata': {'path': str(tmp_path)}}
    ).execute()
