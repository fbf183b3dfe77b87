# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Counts over real processes (gloo): the same figures to the last digit, padded samples counted once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler
from samples import make_samples

from mmentropy.evaluation.counting import UNIT, CountingMetric, add_counts, fixed

HERE = Path(__file__).parent


def test_one_two_and_three_processes_agree_to_the_last_digit(tmp_path):
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(HERE.parents[1]), str(HERE)]), OMP_NUM_THREADS='1')
    command = [sys.executable, str(HERE / 'distributed_worker.py'), str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    figures = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob('*.json')}  # JSON keeps every digit
    assert sorted(figures) == ['1_0', '2_0', '2_1', '3_0', '3_1', '3_2']
    assert 0 < figures['1_0']['11']['wsol/MaxBoxAccV2'] < 100
    assert 0 < figures['1_0']['11']['scenes/mPxAP'] < 100
    for name, found in figures.items():
        assert found == figures['1_0'], f'process {name} differs'


class Sum(CountingMetric):
    """Counts samples and adds up their indices."""

    default_prefix = None

    def count_case(self, case):
        sample = case.sample
        return {'n': np.array(1), 'sum': np.array(sample['sample_id']), 'by_class': np.eye(9, dtype=int)[sample['c']]}

    def figures(self, totals):
        return {'n': int(totals['n']), 'sum': int(totals['sum']), 'by_class': totals['by_class'].tolist()}


@pytest.mark.parametrize('world', [1, 2, 3, 5, 8])
@pytest.mark.parametrize('size', [1, 2, 7, 40])
def test_padding_of_the_hosts_sampler_is_dropped(world, size, monkeypatch):
    """Rank by rank without processes: what is left after the padding is every sample once."""
    total = {'n': 0, 'sum': 0}

    def keep(totals: dict) -> dict:
        for name in total:
            total[name] += int(totals.get(name, 0))
        return totals

    for rank in range(world):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, world))
        monkeypatch.setattr('mmentropy.evaluation.counting.get_rank', lambda rank=rank: rank)
        monkeypatch.setattr('mmentropy.evaluation.counting.get_world_size', lambda: world)
        monkeypatch.setattr('mmentropy.evaluation.counting.reduce_counts', keep)
        metric = Sum()
        indices = list(DefaultSampler(range(size), shuffle=False))
        metric.process(None, [{'sample_id': i, 'c': 0} for i in indices])
        if rank < size:
            metric.evaluate(size)
        else:
            with pytest.raises(ValueError, match='saw no sample'):  # there is nobody to share with in this test
                metric.evaluate(size)
    assert total == {'n': size, 'sum': size * (size - 1) // 2}


def test_more_padding_than_waits_is_an_error():
    metric = Sum()
    metric.process(None, [{'sample_id': i, 'c': 0} for i in range(12)])
    with pytest.raises(ValueError, match='Sum saw 12 samples in process 0, but a data set of 3 gives it 3'):
        metric.evaluate(3)


def test_metric_starts_afresh_after_evaluation():
    metric = Sum()
    for _ in range(2):
        metric.process(None, [{'sample_id': i, 'c': i % 3} for i in range(20)])
        results = metric.evaluate(20)
        assert results == {'n': 20, 'sum': 190, 'by_class': [7, 7, 6, 0, 0, 0, 0, 0, 0]}


def test_names_add_up_whenever_they_come():
    totals = {}
    first = {'a': np.array([1, 2])}
    for counts in (first, {'b': np.array(5)}, {'a': np.array([0, 2]), 'b': np.array(1)}):
        add_counts(totals, counts)
    assert {name: value.tolist() for name, value in totals.items()} == {'a': [1, 4], 'b': 6}
    assert first['a'].tolist() == [1, 2]


def test_fixed_point_sums_do_not_depend_on_their_order():
    values = np.random.default_rng(0).normal(size=1000) * 10.0 ** np.random.default_rng(1).integers(-4, 4, 1000)
    terms = [fixed(v) for v in values]
    assert sum(terms) == sum(terms[::-1])
    assert sum(terms) / UNIT == pytest.approx(values.sum(), abs=1000 / UNIT)
    with pytest.raises(ValueError, match='cannot sum nan'):
        fixed(float('nan'))


def test_memory_does_not_grow_with_the_images():
    """Only a bounded number of counts waits, however many samples came."""
    metric = Sum()
    metric.process(None, [{'sample_id': i, 'c': 0} for i in range(1000)])
    assert len(metric._pending) == metric.pending_size
    assert metric.results == []


def test_samples_differ():
    """The oracle of the other tests: predictions that are all alike would hide mistakes."""
    labels = {int(s['gt_label'][0]) for s in make_samples(24)}
    assert len(labels) > 4
