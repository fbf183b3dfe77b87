# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""compare.py on tiny real runs: killed halfway, started again, extended, and refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mmentropy.experiments.comparison import Run, figures_of, named_configs, plan_runs, tabulate
from mmentropy.experiments.execution import execute_and_tabulate

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
_base_ = '{root}/configs/demo/resnet18_partshapes.py'
train_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(length=48))
val_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(length=16))
test_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(length=16))
val_evaluator = [dict(type='Accuracy', topk=(1,)), dict(type='mmentropy.EntropyMetric')]
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=4)
default_hooks = dict(logger=dict(interval=1))
model = dict(backbone=dict(base_channels=4, stem_channels=4), {model})
"""
MODELS = {
    'cam': '',
    # Draws random numbers in the main process: an interrupted run has to find its place in them.
    'adl': "erasing=[dict(type='mmentropy.ADL', drop_rate=0.5)]",
}
EVAL = """
_base_ = './cam.py'
test_dataloader = dict(dataset=dict(seed=5))
"""


@pytest.fixture(scope='module')
def configs(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp('configs')
    for name, model in MODELS.items():
        (folder / f'{name}.py').write_text(CONFIG.format(root=ROOT, model=model))
    (folder / 'other.py').write_text(EVAL)
    return [str(folder / f'{name}.py') for name in MODELS]


@pytest.fixture(scope='module')
def whole(configs, tmp_path_factory) -> Path:
    """A comparison that was left alone."""
    work_dir = tmp_path_factory.mktemp('whole')
    runs = plan_runs(configs, [0], work_dir) + plan_runs(configs[:1], [1], work_dir)
    assert execute_and_tabulate(runs, work_dir / 'table', usual=['accuracy/top1']) == {}
    return work_dir


def command(configs: list[str], work_dir: Path) -> list[str]:
    tool = str(ROOT / 'tools/analysis_tools/compare.py')
    return [sys.executable, tool, *configs, '--seeds', '0', '--work-dir', str(work_dir)]


def weights(run: Path) -> dict:
    return torch.load(run / 'epoch_4.pth', weights_only=False)['state_dict']


def test_killed_halfway_it_ends_with_the_same_table_and_repeats_nothing(configs, whole, tmp_path):
    env = dict(os.environ, OMP_NUM_THREADS='1')
    process = subprocess.Popen(command(configs, tmp_path), env=env, start_new_session=True)
    # Killed in the middle of the second run, after its first checkpoint.
    half = tmp_path / 'adl' / 'seed0' / 'epoch_1.pth'
    for _ in range(6000):  # a limit for a busy machine; seconds are enough
        if half.is_file() or process.poll() is not None:
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(1.2)  # the run's own process notices within half a second
    assert half.is_file()
    assert not (tmp_path / 'adl/seed0/trained.json').exists(), 'it was too late to interrupt the second run'
    first = tmp_path / 'cam' / 'seed0'
    assert (first / 'metrics/val.json').is_file()
    before = {path: path.stat().st_mtime_ns for path in first.rglob('*') if path.is_file()}

    again = subprocess.run(command(configs, tmp_path), env=env, capture_output=True, text=True, check=True)
    assert '1 finished, 1 interrupted' in again.stderr
    assert {path: path.stat().st_mtime_ns for path in first.rglob('*') if path.is_file()} == before
    tabulate(plan_runs(configs, [0], whole), tmp_path / 'alone')
    assert (tmp_path / 'table.csv').read_text() == (tmp_path / 'alone.csv').read_text()  # every figure, all digits
    assert all((tmp_path / f'table.{suffix}').is_file() for suffix in ('md', 'tex'))
    resumed, alone = weights(tmp_path / 'adl/seed0'), weights(whole / 'adl/seed0')
    assert all(torch.equal(resumed[key], alone[key]) for key in alone)
    # Of the interrupted run, the epochs before the checkpoint were not trained again.
    log = (tmp_path / 'adl/seed0/console.log').read_text()
    assert sum('Epoch(train)' in line and '[1][1/6]' in line for line in log.splitlines()) == 1


def test_seeds_and_methods_differ(whole):
    runs = ('cam/seed0', 'cam/seed1', 'adl/seed0')
    assert len({weights(whole / run)['head.fc.weight'].sum().item() for run in runs}) == 3


def test_table_is_mean_and_spread_of_the_runs(configs, whole):
    runs = plan_runs(configs[:1], [0, 1], whole)
    figures = [figures_of(run)['accuracy/top1'] for run in runs]
    mean, spread = sum(figures) / 2, abs(figures[0] - figures[1]) / 2**0.5
    rows = [line.split(',') for line in (whole / 'table.csv').read_text().splitlines()]
    row = next(row for row in rows if row[:2] == ['cam', 'accuracy/top1'])
    assert [float(value) for value in row[2:]] == pytest.approx([mean, spread, 2])


def test_another_evaluation_of_finished_runs_trains_nothing(configs, whole, tmp_path):
    other = named_configs([f'shift={Path(configs[0]).parent / "other.py"}'])
    runs = plan_runs(configs[:1], [0], whole, evaluations=other)
    assert runs[0].state() == 'to evaluate'
    stamp = (whole / 'cam/seed0/trained.json').stat().st_mtime_ns
    assert execute_and_tabulate(runs, tmp_path / 'more', usual=['accuracy/top1', 'wsol/entropy']) == {}
    assert (whole / 'cam/seed0/trained.json').stat().st_mtime_ns == stamp
    figures = figures_of(runs[0])
    assert figures['shift:wsol/entropy'] != figures['wsol/entropy']
    assert 'shift:accuracy/top1' in (tmp_path / 'more.md').read_text().splitlines()[0]
    assert runs[0].state() == 'finished'


def test_a_directory_of_another_configuration_is_an_error(configs, whole):
    runs = plan_runs(configs[:1], [0], whole, {'train_cfg.max_epochs': 9})
    with pytest.raises(ValueError, match='holds a run of another configuration'):
        runs[0].state()


def test_a_failing_run_is_told_and_the_others_go_on(configs, whole, tmp_path, capfd):
    broken = Run('broken', configs[0], 0, tmp_path / 'broken', {'model.head.loss.type': 'NoSuchLoss'})
    good = plan_runs(configs[:1], [0], whole)[0]
    failed = execute_and_tabulate([broken, good], tmp_path / 'table', usual=['accuracy/top1'])
    assert list(failed) == [str(tmp_path / 'broken')]
    assert 'NoSuchLoss' in failed[str(tmp_path / 'broken')]
    lines = (tmp_path / 'table.md').read_text().splitlines()
    assert lines[2].startswith('| broken | 0 |')
    assert lines[3].startswith('| cam | 1 |')


def test_dry_run_writes_no_run(configs, tmp_path, capfd):
    runs = plan_runs(configs, [0, 1], tmp_path / 'work')
    execute_and_tabulate(runs, tmp_path / 'table', dry_run=True)
    assert '4 runs: 4 missing' in capfd.readouterr().err
    assert not (tmp_path / 'work').exists()


def test_names_are_told_apart(configs):
    with pytest.raises(ValueError, match='cam is there more than once'):
        plan_runs([configs[0], configs[0]], [0], 'work')
    assert named_configs(['a=x/y.py', 'x/z.py']) == {'a': 'x/y.py', 'z': 'x/z.py'}
    with pytest.raises(ValueError, match="'val' is taken"):
        named_configs(['val=x.py'])


def test_a_damaged_result_is_named(configs, whole, tmp_path):
    run = Run('cam', configs[0], 0, tmp_path)
    (tmp_path / 'trained.json').write_text('{')
    with pytest.raises(ValueError, match=r'trained.json is not JSON .* remove it'):
        run.state()
    assert json.loads((whole / 'cam/seed0/trained.json').read_text())['epochs'] == 4
    assert tabulate([Run('x', configs[0], 0, tmp_path / 'none')], tmp_path / 'empty')[0].is_file()
