# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""docs/zoo.md says what each family of networks gives, and every family is there."""

from __future__ import annotations

import runpy
from pathlib import Path

import mmpretrain
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = runpy.run_path(str(ROOT / 'docs/make_zoo.py'), run_name='make_zoo')
ROWS = [line for line in SCRIPT['PAGE'].read_text(encoding='utf-8').partition(SCRIPT['MARK'])[2].splitlines() if line]


@pytest.mark.parametrize('network', SCRIPT['ZOO'], ids=str)
def test_row_is_the_truth(network):
    if network.family == 'timm':
        pytest.importorskip('timm', reason='timm is not installed')
    assert SCRIPT['look'](network) in ROWS


def test_the_page_has_these_rows_and_no_others():
    named = [row.split('`')[1] for row in ROWS[2:]]
    assert named == [str(network) for network in SCRIPT['ZOO']]
    assert '\n'.join(ROWS) == SCRIPT['table'](ROWS[2:])


def test_every_folder_of_mmpretrain_is_named():
    folders = {path.name for path in (Path(mmpretrain.__file__).parent / '.mim/configs').iterdir() if path.is_dir()}
    families = {network.family for network in SCRIPT['ZOO']} - {'torchvision', 'timm'}
    assert not families & set(SCRIPT['OTHERS'])
    assert folders - {'_base_'} == families | set(SCRIPT['OTHERS'])
