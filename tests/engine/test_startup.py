# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from pickle import UnpicklingError

import pytest
from mmengine.config import Config

from mmentropy.engine import load_config, one_sentence_errors, set_work_dir, start_processes
from mmentropy.engine.startup import first_line


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


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (FileNotFoundError('data/x is missing; see docs'), 'error: data/x is missing; see docs\n'),
        (KeyError('a is not in b\nmore'), 'error: a is not in b\n'),
        (UnpicklingError('global os.system'), 'add --trust-checkpoint'),
    ],
)
def test_errors_are_one_sentence(error, message, capsys, monkeypatch):
    monkeypatch.delenv('MMENTROPY_DEBUG', raising=False)

    @one_sentence_errors
    def main():
        raise error

    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    monkeypatch.setenv('MMENTROPY_DEBUG', '1')
    with pytest.raises(type(error)):
        main()


def test_the_cause_speaks_for_what_wraps_it():
    wrapped = KeyError('class X in registry')
    wrapped.__cause__ = ValueError('row 3 is bad')
    assert first_line(wrapped) == 'row 3 is bad'


def test_a_launcher_without_its_variables(monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    for name in ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match='--launcher slurm needs the variables SLURM_PROCID'):
        start_processes(Config({}), 'slurm')
    cfg = Config({})
    start_processes(cfg, 'none')
    assert cfg.launcher == 'none'
    assert 'model_wrapper_cfg' not in cfg
