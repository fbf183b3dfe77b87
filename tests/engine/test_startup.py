# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.

import pytest
from mmengine.config import Config

from mmentropy.engine import load_config, set_work_dir, start_processes, use_amp


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
