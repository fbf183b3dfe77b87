# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import runpy
import sys

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from pretended_runs import CONFIGS, LOADER, NARROW, pretend_trained

from mmentropy.experiments.comparison import figures_of, plan_runs
from mmentropy.experiments.sweep import class_count, plan_sweep, sweep_points
from mmentropy.models.losses import EntropyRegularizedLoss


def test_the_number_of_classes_is_read_before_anything_runs():
    head, preprocessor = dict(num_classes=3), dict(num_classes=4)
    assert class_count(Config(dict(model=dict(head=head), data_preprocessor=preprocessor))) == 3
    assert class_count(Config(dict(model=dict(head=dict(type='x')), data_preprocessor=preprocessor))) == 4
    assert class_count(Config(dict(model=dict(data_preprocessor=preprocessor)))) == 4
    with pytest.raises(ValueError, match=r'no data_preprocessor\.num_classes and no model\.head\.num_classes'):
        class_count(Config(dict(model=dict(head=None))))


def test_plan_has_the_plain_model_once_and_the_seeds_outermost(repo_root, tmp_path):
    config = str(repo_root / CONFIGS[0])
    runs = plan_sweep(config, ['er', 'cp'], [1, 0.1], [0, 5], tmp_path, NARROW)
    names = ['lambda0', 'er_lambda0.1', 'er_lambda1', 'cp_lambda0.1', 'cp_lambda1']
    assert [run.name for run in runs] == names * 2
    assert [run.seed for run in runs] == [0] * 5 + [5] * 5
    assert len({run.directory for run in runs}) == 10
    loss = runs[2].train_config().model.head.loss
    assert loss == dict(type='mmentropy.EntropyRegularizedLoss', lambda_=1, class_reduction='mean')
    init_default_scope('mmpretrain')
    assert isinstance(MODELS.build(loss), EntropyRegularizedLoss)
    assert runs[2].train_config().model.backbone.base_channels == 4
    with pytest.raises(ValueError, match="the losses are er, cp, jeffreys, ls, not 'adl'"):
        plan_sweep(config, ['adl'], [1], [0], tmp_path)
    with pytest.raises(ValueError, match='must be positive'):
        plan_sweep(config, ['er'], [0, 1], [0], tmp_path)


def test_points_join_seeds_and_leave_out_what_is_not_finished(repo_root, tmp_path):
    runs = plan_sweep(str(repo_root / CONFIGS[0]), ['er'], [0.1, 1], [0, 1], tmp_path, NARROW)
    for run, figure in ((runs[0], 50.0), (runs[3], 54.0), (runs[1], 60.0)):
        pretend_trained(run, {'wsol/GT-known': figure})
    plain, regularised = sweep_points(runs)
    assert (plain.loss, plain.lambda_, plain.figures['wsol/GT-known'].mean) == ('er', 0.0, 52.0)
    assert plain.figures['wsol/GT-known'].n == 2
    assert (regularised.lambda_, regularised.figures['wsol/GT-known'].spread) == (0.1, None)


def test_label_smoothing_has_the_epsilon_of_lambda(repo_root, tmp_path):
    plain, smoothed = plan_sweep(str(repo_root / CONFIGS[0]), ['ls'], [0.25], [0], tmp_path, NARROW)
    loss = smoothed.train_config().model.head.loss
    assert (loss.lambda_, loss.label_smoothing) == (0.0, 0.2)
    for run in (plain, smoothed):
        pretend_trained(run, {'wsol/GT-known': 50.0})
    points = [(point.loss, round(point.lambda_, 12)) for point in sweep_points([plain, smoothed])]
    assert points == [('er', 0), ('ls', 0.25)]


def test_tool_tabulates_and_draws_what_is_finished(repo_root, tmp_path, monkeypatch, capsys):
    config, work_dir = str(repo_root / CONFIGS[0]), tmp_path / 'sweep'
    for i, run in enumerate(plan_sweep(config, ['er'], [0.1, 1.0], [0], work_dir, NARROW)):
        pretend_trained(run, {'wsol/GT-known': 50.0 + i, 'accuracy/top1': 60.0 - i, 'wsol/entropy': 1.0 + i})
    arguments = [config, '--losses', 'er', '--lambdas', '0.1', '1', '--seeds', '0', '--work-dir', str(work_dir)]
    arguments += [
        '--localization',
        'wsol/GT-known',
        '--cfg-options',
        *(f'{key}={value}' for key, value in NARROW.items()),
    ]
    monkeypatch.setattr(sys, 'argv', ['entropy_sweep.py', *arguments])
    runpy.run_path(str(repo_root / 'tools/analysis_tools/entropy_sweep.py'), run_name='__main__')
    assert f'wrote {work_dir / "sweep.png"}' in capsys.readouterr().out
    assert (work_dir / 'sweep.png').stat().st_size > 10_000
    rows = (work_dir / 'sweep.md').read_text().splitlines()
    assert rows[2:] == [
        f'| lambda0 | 1 |{" 50.0 | 60.0 | 1.000 |" * 2}',  # of the validation and of the test split
        f'| er_lambda0.1 | 1 |{" 51.0 | 59.0 | 2.000 |" * 2}',
        f'| er_lambda1 | 1 |{" 52.0 | 58.0 | 3.000 |" * 2}',
    ]


def test_thresholds_of_a_test_split_are_those_of_validation(repo_root, tmp_path):
    loaders = {f'{split}_dataloader.{key}': value for split in ('val', 'test') for key, value in LOADER.items()}
    options = {**NARROW, **loaders, 'test_dataloader.dataset.split': 'test', 'test_dataloader.dataset.length': 24}
    run = plan_runs([str(repo_root / CONFIGS[0])], [0], tmp_path, options)[0]
    pretend_trained(run)
    assert run.state() == 'to evaluate'
    run.execute()
    metrics = run.metrics()
    chosen = metrics['val']['wsol/threshold@50']
    assert metrics['test']['wsol/threshold@50@transfer'] == chosen
    assert metrics['test']['wsol/BoxAcc@50@transfer'] <= metrics['test']['wsol/MaxBoxAcc@50']
    figures = figures_of(run)
    assert figures['wsol/GT-known'] == metrics['test']['wsol/GT-known']
    assert figures['val:wsol/GT-known'] == metrics['val']['wsol/GT-known']
    assert run.state() == 'finished'
