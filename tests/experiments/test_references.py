# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Published figures: the page is the table, and a comparison's rows stand above those of its sets."""

from __future__ import annotations

import importlib.util
import runpy
import sys

import pytest
from pretended_runs import CONFIGS, NARROW, pretend_trained

from mmentropy.experiments.comparison import plan_runs
from mmentropy.experiments.references import beside, references
from mmentropy.experiments.tables import Measured


def test_the_page_holds_the_table(repo_root):
    spec = importlib.util.spec_from_file_location('make_references', repo_root / 'docs/make_references.py')
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    text = made.PAGE.read_text(encoding='utf-8')
    assert made.page(text) == text, 'run `python docs/make_references.py`'
    assert '| Zhou et al., CVPR 2016 | vqa | test-standard | CAM | GoogLeNet-GAP | accuracy/top1 | 55.89 |' in text


def test_every_figure_is_a_percentage_with_its_source():
    rows = references()
    assert len(rows) > 60
    assert all(0 <= row.value <= 100 and row.paper and row.source and row.protocol for row in rows)
    keys = [(row.paper, row.set, row.split, row.method, row.network, row.figure) for row in rows]
    assert len(set(keys)) == len(keys)
    # The first paper on entropy pooling has no figure here: its tables are not known.
    assert not [row for row in rows if 'ICCV 2019' in row.paper and 'Wan' in row.paper]


def test_rows_of_a_run_stand_above_the_published_ones():
    table = {'mine': {'dice/F1+': Measured(70.5, None, 1), 'other': Measured(1.0, None, 1)}}
    lines = beside(table, ['glas']).splitlines()
    assert lines[0] == '| method | measured by | dice/F1+ |'
    assert lines[2] == '| mine | this run | 70.50 |'
    assert '| min-max, SEM, ResNet † | Belharbi et al., IEEE TMI 2022; glas test | 71.94 |' in lines
    assert lines[-1].startswith('† published by others, under their conditions')
    assert lines[-1].endswith('13 more of glas are figures that no run here has.')


def test_unknown_set_is_told():
    with pytest.raises(ValueError, match=r"there are published figures of ilsvrc, .*, none of 'coco'"):
        references(['coco'])


def test_tool_writes_the_table_beside_its_own(repo_root, tmp_path, monkeypatch, capsys):
    config = str(repo_root / CONFIGS[0])
    for run in plan_runs([config], [0], tmp_path, NARROW):
        pretend_trained(run, {'wsol/MaxBoxAccV2': 61.5})
    options = [f'{key}={value}' for key, value in NARROW.items()]
    words = [config, '--work-dir', str(tmp_path), '--cfg-options', *options, '--references', 'cub']
    monkeypatch.setattr(sys, 'argv', ['compare.py', *words])
    runpy.run_path(str(repo_root / 'tools/analysis_tools/compare.py'), run_name='__main__')
    assert f'wrote {tmp_path}/table_references.md' in capsys.readouterr().out
    text = (tmp_path / 'table_references.md').read_text()
    assert '| this run | 61.50 |' in text
    assert 'CAM, mean of VGG, Inception, ResNet † | Choe et al., CVPR 2020; cub test | 61.10 |' in text
