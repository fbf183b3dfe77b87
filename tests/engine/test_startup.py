# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.

import os

import pytest
import torch
from mmengine.config import Config

from mmentropy.engine import load_config, set_work_dir, start_processes, startup, train, use_amp
from mmentropy.engine.checkpoint import (
    latest_whole,
)
from mmentropy.engine.startup import choose_checkpoint, use_safe_run
from mmentropy.processes import one_owner


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


@pytest.fixture
def trainings(monkeypatch) -> list[Config]:
    """What would be trained."""
    began: list[Config] = []
    monkeypatch.setattr(startup, '_train', lambda cfg, *options: began.append(cfg))
    return began


def test_one_training_a_folder(trainings, tmp_path, monkeypatch):
    monkeypatch.setattr('mmentropy.processes.PATIENCE', 0.1)
    cfg = Config(dict(work_dir=str(tmp_path / 'run'), model=dict(type='A')))
    train(cfg)
    assert trainings == [cfg]
    with one_owner(tmp_path / 'run' / startup.LOCK, 'training', ''):
        with pytest.raises(ValueError, match=rf'run: another training works in this folder \(process {os.getpid()} on'):
            train(cfg)
        assert len(trainings) == 1
        # Of one run's processes the first keeps the folder; the others do not ask for it.
        monkeypatch.setenv('RANK', '1')
        cfg.launcher = 'pytorch'
        train(cfg)
    assert len(trainings) == 2


def test_a_folder_of_other_settings_is_refused_before_anything_is_written(trainings, tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path), model=dict(type='A')))
    torch.save({'meta': {'iter': 1, 'cfg': "model = dict(type='B')"}}, tmp_path / 'epoch_1.pth')
    with pytest.raises(ValueError, match=r"other settings \(model.type: 'B' there, 'A' now\)"):
        train(cfg)
    assert trainings == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [startup.LOCK, 'epoch_1.pth']
    cfg.resume = True
    train(cfg)
    assert trainings == [cfg]


def test_checkpoints_that_the_hook_writes_elsewhere_are_resumed_from(tmp_path):
    folder = tmp_path / 'elsewhere/run'
    folder.mkdir(parents=True)
    (tmp_path / 'run').mkdir()
    torch.save({'meta': {'iter': 1}}, folder / 'epoch_1.pth')
    hook = dict(type='CheckpointHook', out_dir=str(tmp_path / 'elsewhere'))
    cfg = Config(dict(work_dir=str(tmp_path / 'run'), resume=True, default_hooks=dict(checkpoint=hook)))
    choose_checkpoint(cfg)
    assert cfg.load_from == str(folder / 'epoch_1.pth')
