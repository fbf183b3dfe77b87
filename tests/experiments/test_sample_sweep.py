# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Few images a class: the plan, the points, and the tool on runs that are finished."""

from __future__ import annotations

import runpy
import sys

import cv2
import pytest
from pretended_runs import CONFIGS, NARROW, pretend_trained

from mmentropy.experiments.sample_sweep import plan_sample_sweep, sample_points


def test_plan(repo_root, tmp_path):
    config = str(repo_root / CONFIGS[0])
    runs = plan_sample_sweep([config], [5, 1], [0, 3], tmp_path, NARROW)
    assert [run.name for run in runs] == [f'resnet18_partshapes ({n} a class)' for n in (1, 5)] * 2
    sampler = runs[3].train_config().train_dataloader.sampler
    assert sampler == dict(type='mmentropy.FewSamplesSampler', per_class=5, seed=3)
    assert len({run.directory for run in runs}) == 4
    with pytest.raises(ValueError, match='at least 1, got \\[0, 1\\]'):
        plan_sample_sweep([config], [0, 1], [0], tmp_path)


def test_tool_tabulates_and_draws(repo_root, tmp_path, monkeypatch, capsys):
    config = str(repo_root / CONFIGS[0])
    runs = plan_sample_sweep([config], [1, 2], [0, 1], tmp_path, NARROW)
    for run, figure in zip(runs[:3], (20.0, 30.0, 24.0)):
        pretend_trained(run, {'accuracy/top1': figure, 'wsol/GT-known': figure + 1})
    points = sample_points(runs)
    assert points['resnet18_partshapes'][1]['accuracy/top1'].mean == 22
    assert points['resnet18_partshapes'][2]['accuracy/top1'].n == 1
    words = [config, '--per-class', '1', '2', '--seeds', '0', '1', '--work-dir', str(tmp_path), '--dry-run']
    options = [f'{key}={value}' for key, value in NARROW.items()]
    monkeypatch.setattr(sys, 'argv', ['few_samples.py', *words, '--cfg-options', *options])
    runpy.run_path(str(repo_root / 'tools/analysis_tools/few_samples.py'), run_name='__main__')
    assert f'wrote {tmp_path}/few_samples.png' in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / 'few_samples.png')).shape[1] == 1200
    assert '22.0 ± 2.8' in (tmp_path / 'few_samples.md').read_text()
