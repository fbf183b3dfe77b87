# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The terminal gets a few lines, the log file everything."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config
from torch import nn

from mmentropy.engine import build_runner, run_header


@pytest.mark.parametrize('verbose', [False, True])
def test_the_dump_goes_into_the_file(verbose, tmp_path, capsys):
    cfg = Config(
        dict(
            model=nn.Linear(3, 2),
            work_dir=str(tmp_path),
            experiment_name=f'short_log_{verbose}',
            default_scope='mmpretrain',
        )
    )
    runner = build_runner(cfg, verbose=verbose)
    runner.logger.info('a sentence')
    said = capsys.readouterr().out
    (log,) = tmp_path.rglob('*.log')
    written = log.read_text()
    for dump in ('System environment:', 'Config:', 'Hooks will be executed'):
        assert dump in written
        assert (dump in said) is verbose
    assert 'a sentence' in said
    assert 'a sentence' in written
    runner.cfg.train_dataloader = dict(dataset=dict(dataset=dict(type='mmentropy.CUB', data_root='x')))
    lines = dict(line.split(maxsplit=1) for line in run_header(runner).splitlines())
    assert list(lines) == ['config', 'data', 'model', 'device', 'log']
    assert lines['data'] == 'train CUB in x'
    assert lines['model'] == 'Linear(), 0.0 million parameters'
    assert Path(lines['log'].partition(':')[0]) in log.parents
