# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.

import pytest
import torch
from mmengine.config import Config

from mmentropy.engine import load_config, set_work_dir, start_processes, use_amp
from mmentropy.engine.checkpoint import (
    latest_whole,
)
from mmentropy.engine.startup import choose_checkpoint, use_safe_run


def test_work_dir_priority():
    cfg = Config({})
    set_work_dir(cfg, 'configs/wsol/resnet50_cub.py', None)
    assert cfg.work_dir == 'work_dirs/resnet50_cub'
    set_work_dir(cfg, 'other.py', None)
    assert cfg.work_dir == 'work_dirs/resnet50_cub'
    set_work_dir(cfg, 'other.py', 'here')
    assert cfg.work_dir == 'here'


def test_options_are_merged(tmp_path):
    path = tmp_path / 'c.py'
    path.write_text('model = dict(neck=dict(type="A", t=1))')
    assert load_config(str(path), {'model.neck.t': 2}).model.neck == {'type': 'A', 't': 2}
    with pytest.raises(FileNotFoundError, match=r'nothing\.py does not exist'):
        load_config(str(tmp_path / 'nothing.py'))


@pytest.mark.parametrize('gpu', [False, True])
def test_a_launcher_without_its_variables(gpu, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: gpu)
    for name in ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match='--launcher slurm needs the variables SLURM_PROCID'):
        start_processes(Config({}), 'slurm')
    cfg = Config({})
    start_processes(cfg, 'none')
    assert cfg.launcher == 'none'
    assert 'model_wrapper_cfg' not in cfg


def test_mixed_precision_of_a_config_that_does_not_train():
    with pytest.raises(ValueError, match='--amp sets the type of optim_wrapper, and the config has none'):
        use_amp(Config({}))


def save(path, **content) -> None:
    torch.save(content or {'state_dict': {'weight': torch.arange(100.0)}}, path)


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


def test_configs_of_packages_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config('mmentropy::wsol/resnet50_cub.py').model.type == 'mmentropy.LocalizationClassifier'
    assert load_config('mmpretrain::resnet/resnet18_8xb32_in1k.py').model.backbone.depth == 18
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'mmentropy::wsol/resnet50_cub.py'\nmodel = dict(backbone=dict(depth=18))\n"
    )
    mine = load_config('mine.py').model
    assert (mine.backbone.depth, mine.type) == (18, 'mmentropy.LocalizationClassifier')
    # The host's own types in it, RandomCrop and others, are found by default_scope as ever.
    assert '_scope_' not in load_config('mine.py').pretty_text
    with pytest.raises(FileNotFoundError, match=r'did you mean mmentropy::wsol/resnet50_cub_ent\.py or'):
        load_config('mmentropy::wsol/resnet50_cub_entt.py')
    with pytest.raises(FileNotFoundError, match='the package nosuch is not installed'):
        load_config('nosuch::a.py')
