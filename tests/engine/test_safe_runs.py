# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Checkpoint files and what reads them: whole, fitting, plain data; and the switches that make a run safe."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer

from mmentropy.engine.checkpoint import (
    broken,
    check_whole,
    host_curves,
    latest_whole,
    misfit,
    plain_curves,
)
from mmentropy.engine.random_state import random_state, set_random_state
from mmentropy.engine.startup import choose_checkpoint, use_safe_run


def save(path, **content) -> None:
    torch.save(content or {'state_dict': {'weight': torch.arange(100.0)}}, path)


def test_broken_files_are_told_from_whole_ones(tmp_path):
    save(tmp_path / 'epoch_1.pth')
    torch.save({'a': torch.ones(3)}, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    assert broken(tmp_path / 'epoch_1.pth') is None
    assert broken(tmp_path / 'old.pth') is None
    data = (tmp_path / 'epoch_1.pth').read_bytes()
    for cut in (1, 100, len(data) - 30):
        (tmp_path / 'cut.pth').write_bytes(data[:-cut])
        with pytest.raises(ValueError, match=r'cut\.pth is no whole checkpoint: .*; whole ones beside it: epoch_1'):
            check_whole(tmp_path / 'cut.pth')
    for content, words in ((b'', 'it is empty'), (b'<html>', r'not written by torch\.save')):
        (tmp_path / 'cut.pth').write_bytes(content)
        with pytest.raises(ValueError, match=words):
            check_whole(tmp_path / 'cut.pth')
    with pytest.raises(FileNotFoundError, match=r'none\.pth does not exist'):
        check_whole(tmp_path / 'none.pth')
    check_whole('https://somewhere/model.pth')  # what is not local is not judged


def test_resume_takes_the_last_whole_checkpoint(tmp_path, capsys):
    assert latest_whole(tmp_path) == (None, [])
    for n in (2, 9, 10):
        save(tmp_path / f'epoch_{n}.pth')
    (tmp_path / 'last_checkpoint').write_text('/moved/elsewhere/epoch_10.pth')
    assert latest_whole(tmp_path) == (tmp_path / 'epoch_10.pth', [])  # the folder was moved
    (tmp_path / 'epoch_10.pth').write_bytes(b'PK half')
    assert latest_whole(tmp_path) == (tmp_path / 'epoch_9.pth', [tmp_path / 'epoch_10.pth'])
    cfg = Config(dict(resume=True, work_dir=str(tmp_path)))
    choose_checkpoint(cfg)
    assert cfg.load_from == str(tmp_path / 'epoch_9.pth')
    assert 'epoch_10.pth is no whole checkpoint and is passed over' in capsys.readouterr().err
    for n in (2, 9):
        (tmp_path / f'epoch_{n}.pth').write_bytes(b'')
    cfg = Config(dict(resume=True, work_dir=str(tmp_path)))
    choose_checkpoint(cfg)
    assert not cfg.resume
    assert 'the training begins anew' in capsys.readouterr().err


def test_another_models_checkpoint_is_refused():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    state = model.state_dict()
    assert misfit(model, {'state_dict': {f'module.{key}': value for key, value in state.items()}}) is None
    del state['1.num_batches_tracked']  # files of old torch versions have none
    assert misfit(model, {'state_dict': {**state, 'more': torch.ones(1)}}) is None
    less = {key: value for key, value in state.items() if key != '0.bias'}
    assert misfit(model, less) == '1 of its 6 entries are missing, for example 0.bias'
    assert misfit(model, less, whole=False) is None
    other = {**state, '0.weight': torch.ones(5, 2)}
    assert misfit(model, other) == '1 have another shape, for example 0.weight: (5, 2) instead of (3, 2)'
    for whole in (True, False):
        assert 'not one of its 6 entries is there' in misfit(model, {'conv.weight': torch.ones(1)}, whole)


def test_curves_are_plain_and_come_back(tmp_path):
    curve = HistoryBuffer([1.5, 2.5], [1, 2], 10)
    hub = dict(log_scalars={'train/loss': curve}, runtime_info={'best': np.float64(0.5), 'x': [np.arange(2)]})
    hub['resumed_keys'] = {'train/loss': True}
    save(tmp_path / 'a.pth', message_hub=plain_curves(hub))
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)['message_hub']
    assert loaded['runtime_info']['best'] == 0.5
    assert loaded['runtime_info']['x'][0].tolist() == [0, 1]
    back = host_curves(loaded)['log_scalars']['train/loss']
    assert [part.tolist() for part in back.data] == [part.tolist() for part in curve.data]
    assert back.mean() == curve.mean() == pytest.approx(4 / 3)  # mmengine: the sum over the counts
    assert host_curves(hub)['log_scalars']['train/loss'] is curve


def draws() -> list[float]:
    return [random.random(), np.random.random_sample(), torch.rand(()).item(), np.random.standard_normal()]  # noqa: NPY002


def test_random_states_go_through_a_file(tmp_path):
    random.gauss(0, 1), np.random.standard_normal()  # noqa: NPY002  each keeps a second value
    save(tmp_path / 'a.pth', state=random_state())
    first = draws()
    assert draws() != first
    set_random_state(torch.load(tmp_path / 'a.pth', weights_only=True)['state'])
    assert draws() == first


def test_the_hosts_types_become_ours_and_others_stay():
    cfg = Config(dict(train_cfg=dict(by_epoch=True, max_epochs=1)))
    use_safe_run(cfg)
    assert cfg.default_hooks.checkpoint.type == 'mmentropy.WholeCheckpointHook'
    assert cfg.default_hooks.stop.type == 'mmentropy.StopSignalHook'
    assert cfg.train_cfg == dict(type='mmentropy.EpochTrainLoop', max_epochs=1)
    own = dict(checkpoint=dict(type='MyHook'), stop=None)
    cfg = Config(dict(default_hooks=own, train_cfg=dict(type='IterBasedTrainLoop', max_iters=5)))
    use_safe_run(cfg)
    assert cfg.default_hooks == own
    assert cfg.train_cfg.type == 'mmentropy.IterTrainLoop'
