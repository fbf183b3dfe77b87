# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What ``make bench`` makes of measurements; the measurements themselves are no test."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bench(monkeypatch):
    """The modules of benchmarks/, which is no package."""
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    return importlib.import_module


def test_targets(bench):
    row = bench('measure').Row
    assert row('a', '1 s', figure=1.03, target='≤ 1.03').met == 'yes'
    assert row('a', '1 s', figure=1.031, target='≤ 1.03').met == 'no'
    assert row('a', '1 s', figure=19.9, target='≥ 20').met == 'no'
    assert row('a', '1 s', figure=30.0, unit_of_figure='ms', target='< 30').met == 'no'
    assert row('a', '1 s', figure=1.0).met == row('a', '1 s', target='≥ 1').met == ''


def test_pairs_and_memory(bench):
    measure = bench('measure')
    # A machine that is twice as slow in the second round: the ratio within each round is 1.5.
    assert measure.paired_ratio([3.0, 6.0, 3.0], [2.0, 4.0, 2.0]) == 1.5
    calls = []
    jobs = {'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')}
    times = measure.interleaved(jobs, rounds=3)
    assert ''.join(calls) == 'baabbaab'
    assert len(times['a'].cpu) == len(times['b'].wall) == 3

    # Two tensors of 4 MB at once, a third one after them.
    def job():
        x = torch.zeros(10**6)
        y = x + 1
        del x, y
        torch.zeros(10**6)

    assert measure.peak_bytes(job) == pytest.approx(8e6, rel=0.01)


def test_a_failed_script_is_in_the_table_and_the_next_one_runs(bench, monkeypatch, tmp_path):
    suite = bench('suite')
    (tmp_path / 'benchmarks').mkdir()
    (tmp_path / 'benchmarks/good.py').write_text(
        'import json, sys\n'
        "row = dict(what='walk', ours='1 s', alternative='dense', alternative_value='30 s')\n"
        "rows = [dict(row, figure=30.0, target='≥ 20')]\nopen(sys.argv[-1], 'w').write(json.dumps(rows))\n"
    )
    (tmp_path / 'benchmarks/bad.py').write_text("raise ValueError('no such | layer')\n")
    monkeypatch.setattr(suite, 'ROOT', tmp_path)
    results = {name: suite.run(name, [], tmp_path, False) for name in ('bad', 'good')}
    lines = suite.page(results).splitlines()
    assert '| walk | 1 s | dense | 30 s | 30 | ≥ 20 | yes |  |' in lines
    assert '| benchmarks/bad.py | failed |  |  |  |  |  | ValueError: no such / layer |' in lines
    # What was measured is not measured again; what failed is.
    (tmp_path / 'good.json').write_text(json.dumps(results['good'] | {'date': 'earlier'}))
    (tmp_path / 'bad.json').write_text(json.dumps(results['bad'] | {'date': 'earlier'}))
    assert suite.run('good', [], tmp_path, False)['date'] == 'earlier'
    assert suite.run('bad', [], tmp_path, False)['date'] != 'earlier'
    assert suite.run('good', ['--rounds=2'], tmp_path, False)['date'] != 'earlier'


def test_poolings_differ_in_the_pooling_alone(bench, tmp_path):
    """Every method classifies, from the same backbone; finished runs are told apart and summarised."""
    pooling = bench('pooling')
    inputs, backbones = torch.randn(2, 3, 64, 64), []
    for method in pooling.METHODS:
        torch.manual_seed(0)
        model = pooling.build_model(method, 7)
        model.eval()
        assert model.head(model.neck(model.backbone(inputs))).shape == (2, 7)
        backbones.append(model.backbone.state_dict())
    assert all(list(one) == list(backbones[0]) for one in backbones)
    assert torch.equal(backbones[0]['conv1.weight'], backbones[1]['conv1.weight'])
    rows = [dict(method='gap', seed=seed, epochs=5, top1=top1, seconds=100.0) for seed, top1 in ((0, 50.0), (1, 52.0))]
    rows.append(dict(method='gap', seed=0, epochs=8, top1=60.0, seconds=160.0))
    (tmp_path / 'pooling.jsonl').write_text('\n'.join(map(json.dumps, rows)) + '\n')
    args = argparse.Namespace(work=str(tmp_path), methods=['gap', 'efw'], epochs=5)
    assert pooling.table(args).splitlines()[2:] == ['| gap | 2 | 51.0 ± 1.4 | 100 |']
