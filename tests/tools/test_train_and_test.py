# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The command lines, as a user types them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    *('train_dataloader.batch_size=16', 'train_dataloader.dataset.length=64'),
    *('model.backbone.base_channels=8', 'model.backbone.stem_channels=8'),
    *('train_cfg.max_epochs=2', 'train_cfg.val_interval=2'),
    *(f'{split}_dataloader.num_workers=0' for split in ('train', 'val', 'test')),
    *(f'{split}_dataloader.persistent_workers=False' for split in ('train', 'val', 'test')),
    *(f'{split}_dataloader.dataset.length=31' for split in ('val', 'test')),
    *(f'{split}_dataloader.batch_size=8' for split in ('val', 'test')),
]
CONFIG = 'configs/demo/resnet18_partshapes_ent.py'


def call(*command: str, cwd: Path = ROOT, check: bool = True, **env: str) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        **env,
    }
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=600)
    if check and done.returncode:
        raise AssertionError(
            f'ended with {done.returncode}: {" ".join(command)}\n{done.stderr[-5000:]}\n{done.stdout[-2000:]}'
        )
    return done


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    work_dir = tmp_path_factory.mktemp('train')
    # Workers that outlive the training must not keep the process from ending.
    workers = ['train_dataloader.num_workers=1', 'train_dataloader.persistent_workers=True']
    call(sys.executable, 'tools/train.py', CONFIG, '--work-dir', str(work_dir), '--cfg-options', *SMALL, *workers)
    return work_dir / 'epoch_2.pth'


FAITHFUL = """
_base_ = {base!r}
test_evaluator = [
    dict(type='mmentropy.BoxLocalizationMetric'),
    dict(
        type='mmentropy.FaithfulnessMetric',
        metrics=['average_drop', 'deletion', 'insertion', 'road', 'adcc', 'energy'],
        options=dict(steps=3, road_fractions=(0.5,)),
        prefix='faithful',
    ),
]
"""


def test_train_then_test_writes_metrics_and_panels(checkpoint, tmp_path):
    out, show, config = tmp_path / 'metrics.json', tmp_path / 'show', str(tmp_path / 'faithful.py')
    Path(config).write_text(FAITHFUL.format(base=str(ROOT / CONFIG)))
    call(
        *(sys.executable, 'tools/test.py', config, str(checkpoint), '--work-dir', str(tmp_path), '--out', str(out)),
        *('--show-dir', str(show), '--interval', '10', '--cfg-options', *SMALL),
    )
    metrics = json.loads(out.read_text())
    assert 0 <= metrics['wsol/MaxBoxAccV2'] <= 100
    assert metrics['wsol/MaxBoxAccV2'] == pytest.approx(sum(metrics[f'wsol/MaxBoxAcc@{d}'] for d in (30, 50, 70)) / 3)
    assert len(list(show.rglob('*.png'))) == 4  # images 0, 10, 20, 30

    # Two processes share the 31 images (one is padded) and count the same, to the last digit.
    two = tmp_path / 'two.json'
    call(
        *('bash', 'tools/dist_test.sh', config, str(checkpoint), '2', '--work-dir', str(tmp_path / 'w2')),
        *('--out', str(two), '--threshold-from', str(out), '--cfg-options', *SMALL),
    )
    both = json.loads(two.read_text())
    assert {k: both[k] for k in metrics if k.startswith('wsol/')} == pytest.approx(
        {k: v for k, v in metrics.items() if k.startswith('wsol/')}, rel=0, abs=1e-9
    )
    # The model itself is asked, about other batches: the same but for rounding.
    faithful = {k: v for k, v in metrics.items() if k.startswith('faithful/')}
    assert set(faithful) == {
        *('faithful/average_drop', 'faithful/deletion', 'faithful/insertion', 'faithful/road', 'faithful/adcc'),
        *('faithful/energy', 'faithful/constant_maps'),
    }
    assert 0 < faithful['faithful/deletion'] < 100
    assert 0 < faithful['faithful/energy'] < 100
    assert {k: both[k] for k in faithful} == pytest.approx(faithful, abs=1e-3)
    transferred = [key for key in both if '@transfer' in key]
    assert transferred  # the split's own thresholds give the split's own figures
    assert both['wsol/BoxAccV2@transfer'] == pytest.approx(metrics['wsol/MaxBoxAccV2'])


def test_dist_train_with_two_processes(tmp_path):
    call(
        'bash',
        'tools/dist_train.sh',
        CONFIG,
        '2',
        '--work-dir',
        str(tmp_path),
        '--cfg-options',
        *SMALL,
    )
    log = next(tmp_path.glob('*/*.log')).read_text()
    # 64 images, two processes of 16: two iterations an epoch.
    assert re.search(r'Epoch\(val\)\s*\[2\]', log)
    assert (tmp_path / 'epoch_2.pth').is_file()


def test_a_missing_data_set_is_one_sentence(tmp_path):
    done = call(
        *(sys.executable, 'tools/train.py', 'configs/wsol/resnet50_cub_ent.py', '--work-dir', str(tmp_path)),
        *('--cfg-options', 'train_dataloader.dataset.data_root=/nowhere/CUB', 'model.backbone.init_cfg=None'),
        check=False,
    )
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()
    assert 'Traceback' not in done.stderr
    sentence = next(line for line in last if line.startswith('error: '))
    assert '/nowhere/CUB' in sentence
    assert 'docs/datasets.md' in sentence


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['tools/train.py', 'configs/none.py'], 'config configs/none.py does not exist'),
        (['tools/test.py', CONFIG, 'none.pth'], 'checkpoint none.pth does not exist'),
        (['tools/test.py', CONFIG, 'none.pth', '--out', 'x.csv'], '--out must end with .json'),
    ],
)
def test_bad_arguments(arguments, message):
    done = call(sys.executable, *arguments, check=False)
    assert done.returncode == 2
    assert message in done.stderr


def test_print_config_resolves_inheritance():
    done = call(sys.executable, 'tools/print_config.py', CONFIG, '--cfg-options', 'model.neck.temperature=0.5')
    assert 'temperature=0.5' in done.stdout
    assert "type='mmentropy.LocalizationClassifier'" in done.stdout


def test_demo_writes_a_table_and_a_picture(tmp_path):
    done = call(sys.executable, 'tools/demo.py', '--work-dir', str(tmp_path), '--cfg-options', *SMALL)
    assert 'the entropy recipe has' in done.stdout
    assert (tmp_path / 'maps.png').stat().st_size > 50_000  # six rows of four tiles, not a blank sheet
