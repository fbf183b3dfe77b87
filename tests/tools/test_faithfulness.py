# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""tools/analysis_tools/faithfulness.py from its command line: table, picture, resuming, and sentences."""

from __future__ import annotations

import csv
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmpretrain', reason='mmpretrain is not installed')

TOOL = Path(__file__).parents[2] / 'tools/analysis_tools/faithfulness.py'
CONFIG = """
default_scope = 'mmpretrain'
data_preprocessor = dict(num_classes=3, mean=[127.5] * 3, std=[63.75] * 3, to_rgb=True)
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 1, 1)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead'),
)
test_dataloader = dict(
    dataset=dict(type='mmentropy.PartShapes', num_classes=3, image_size=32, split='test', length=6, pipeline=[])
)
"""


def call(monkeypatch, capsys, *arguments: object) -> str:
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name='__main__')
    return capsys.readouterr().out


def arguments_of(folder) -> list:
    (folder / 'c.py').write_text(CONFIG)
    torch.manual_seed(0)
    return [folder / 'c.py', '--random-weights', '--out', folder / 'out', '--steps', 4, '--max-images', 3]


def test_a_table_that_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('MMENTROPY_DEBUG', '1')
    command = [*arguments_of(tmp_path), '--metrics', 'deletion', 'energy', '--methods', 'cam']
    out = call(monkeypatch, capsys, *command)
    assert '| cam | 3 |' in out
    before = (tmp_path / 'out/rows-1of1.jsonl').read_text()
    out = call(monkeypatch, capsys, *command, 'grad_cam:grid=half_pixel')
    assert (tmp_path / 'out/rows-1of1.jsonl').read_text().startswith(before)
    with open(tmp_path / 'out/table.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert {(row['method'], row['figure'], row['images']) for row in rows} >= {('cam', 'deletion', '3')}
    assert (tmp_path / 'out/table.png').stat().st_size > 1000
    assert 'grad_cam:grid=half_pixel' in (tmp_path / 'out/table.md').read_text()


def rows_of(folder: Path) -> list[str]:
    return [line for file in sorted(folder.glob('rows*.jsonl')) for line in file.read_text().splitlines()]


def test_two_processes_go_on_where_one_was_killed_to_the_table_of_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('MMENTROPY_DEBUG', '1')
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    given = [word for word in arguments_of(tmp_path) if word not in ('--out', tmp_path / 'out', '--max-images', 3)]
    command = [*given, '--batch-size', 1, '--metrics', 'deletion', 'max_sensitivity']
    command += ['--methods', 'cam', 'grad_cam:grid=half_pixel']
    call(monkeypatch, capsys, *command, '--out', whole)
    assert len(rows_of(whole)) == 12
    words = [str(word) for word in [*command, '--out', parts]]
    stopped = subprocess.Popen([sys.executable, str(TOOL), *words, '--part', '1/2'], stdout=subprocess.DEVNULL)
    try:
        while not rows_of(parts):
            assert stopped.poll() is None
            time.sleep(0.005)
    finally:
        stopped.kill()
        stopped.wait()
    assert 0 < len(rows_of(parts)) < 6  # of its half
    call(monkeypatch, capsys, *words, '--jobs', 2)
    assert {file.name for file in parts.glob('rows*')} == {f'rows-{part}.jsonl' for part in ('1of2', '2of2', '1of1')}
    assert len(rows_of(parts)) in (12, 13)  # its last line may have been cut off
    assert (parts / 'table.csv').read_text() == (whole / 'table.csv').read_text()
    assert (parts / 'table.md').read_text() == (whole / 'table.md').read_text()


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        (['--methods', 'camm'], "the method 'camm' is none of cam"),
        (['--metrics', 'faith'], "'faith' is no figure of faithfulness"),
        (['--part', '3/2'], '--part is K/N with 1 ≤ K ≤ N'),
        (['--steps', '0'], 'expected a whole number of 1 or more'),
    ],
)
def test_wrong_words_get_a_sentence(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv('MMENTROPY_DEBUG', raising=False)
    with pytest.raises(SystemExit):
        call(monkeypatch, capsys, *arguments_of(tmp_path), *words)
    assert sentence in capsys.readouterr().err
