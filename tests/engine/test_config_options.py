# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What --cfg-options accepts: known keys are set, mistyped ones are errors that name their neighbours."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from mmengine.config import Config

from mmentropy.engine.config_options import add_config_options, merge_options, parameters
from mmentropy.engine.startup import load_config

ROOT = Path(__file__).parents[2]
DEMO = 'configs/demo/resnet18_partshapes_ent.py'


@pytest.fixture
def cfg() -> Config:
    return Config.fromfile(str(ROOT / DEMO))


def set_option(cfg: Config, text: str) -> None:
    """As from the command line."""
    parser = argparse.ArgumentParser()
    add_config_options(parser)
    merge_options(cfg, parser.parse_args(['--cfg-options', *text.split()]).cfg_options)


def at(cfg: Config, key: str):
    here = cfg
    for part in key.split('.'):
        here = here[int(part)] if part.isdigit() else here[part]
    return here


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('train_dataloader.batch_size', 4),  # in the config
        ('train_dataloader.prefetch_factor', 4),  # of torch's DataLoader
        ('train_dataloader.dataset.length', 7),
        ('train_dataloader.dataset.serialize_data', False),  # the type takes **kwargs
        ('model.neck.temperature', 0.5),  # of EntropyPooling
        ('model.neck.detach', True),
        ('model.backbone.frozen_stages', 2),  # of mmpretrain's ResNet
        ('param_scheduler.0.end', 3),  # an element of a list
        ('train_dataloader.dataset.pipeline.0.p', 0.1),
        ('optim_wrapper.clip_grad', 1),
        ('optim_wrapper.paramwise_cfg', None),
        ('optim_wrapper.optimizer.nesterov', True),  # of torch's SGD
        ('default_hooks.stop', None),
        ('default_hooks.checkpoint.max_keep_ckpts', 1),
        ('randomness.deterministic', True),
        ('log_processor.window_size', 1),  # of the runner, where the config is silent
        ('train_cfg.val_begin', 2),
        ('find_unused_parameters', True),
        ('compile', True),
        ('auto_scale_lr', None),
        ('test_evaluator', None),
        ('+model.neck.anything', 3),
        ('+new.group.of.mine', 'x'),
        ('+auto_scale_lr.base_batch_size', 256),
    ],
)
def test_known_keys_are_set(cfg, key, value):
    if key.startswith('train_dataloader.dataset.pipeline'):
        cfg.train_dataloader.dataset.pipeline = [dict(type='RandomFlip', prob=0.5)]
        key = 'train_dataloader.dataset.pipeline.0.prob'
    set_option(cfg, f'{key}={value}')
    assert at(cfg, key.removeprefix('+')) == value


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('train_dataloadr.batch_size=4', 'no setting train_dataloadr.batch_size; did you mean train_dataloader.b'),
        ('train_dataloader.batchsize=4', 'did you mean train_dataloader.batch_size'),
        ('model.nek.type=foo', 'there is no setting model.nek.type; did you mean model.neck.type'),
        ('model.head.loss.lamda_=1', 'did you mean model.head.loss.lambda_'),
        ('max_epochs=3', 'did you mean train_cfg.max_epochs'),
        ('optim_wrapper.lr=3', 'did you mean optim_wrapper.optimizer.lr'),
        ('default_hooks.chekpoint.interval=1', 'did you mean default_hooks.checkpoint.interval'),
        ('randomnes.seed=1', 'did you mean randomness.seed'),
        ('env_cfg.zzz=1', 'env_cfg has cudnn_benchmark, mp_cfg, dist_cfg'),
        ('param_scheduler.9.end=3', r'param_scheduler is a list of \d, whose elements are param_scheduler.0 to'),
        ('param_scheduler.end=3', r'param_scheduler is a list of \d'),
        ('custom_imports.imports=a', r'custom_imports is not set in the config; \+custom_imports.imports=…'),
        ('load_from.path=a', r'load_from is None in the config and holds no keys; \+load_from.path=…'),
        ('log_level.x=a', "log_level is 'INFO' in the config and holds no keys"),
        ('data_preprocessor.mean.0=3', r'give the whole list, data_preprocessor.mean=\[…\]'),
        ('+log_level.x=1', "log_level is 'INFO' and holds no keys"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_an_error_with_the_nearest_names(cfg, text, message):
    before = cfg.pretty_text
    with pytest.raises(ValueError, match=message) as error:
        set_option(cfg, text)
    assert str(error.value).startswith(str(ROOT / DEMO))
    assert '\n' not in str(error.value)
    assert cfg.pretty_text == before


def test_a_type_comes_before_what_it_takes(cfg):
    cfg.model.neck = dict(type='mmentropy.EntropyPooling')
    set_option(cfg, 'model.neck.r=2 model.neck.type=mmentropy.LSEPooling')
    assert cfg.model.neck == dict(type='mmentropy.LSEPooling', r=2)
    cfg = Config.fromfile(str(ROOT / 'configs/demo/resnet18_partshapes.py'))
    with pytest.raises(ValueError, match=r'there is no setting model\.neck\.temperature; model\.neck has'):
        set_option(cfg, 'model.neck.temperature=2')
    set_option(cfg, 'model.neck.temperature=2 model.neck.type=mmentropy.EntropyPooling')
    assert cfg.model.neck.temperature == 2


def test_dicts_replace_or_merge_and_their_keys_are_known_too(cfg):
    loss = dict(_delete_=True, type='mmentropy.ConfidencePenaltyLoss', lambda_=0.5)
    for _ in range(2):  # the caller's dict is not changed by it
        merge_options(cfg, {'model.head.loss': loss})
        assert cfg.model.head.loss == dict(type='mmentropy.ConfidencePenaltyLoss', lambda_=0.5)
    merge_options(cfg, {'model.head.loss': dict(lambda_=0.25)})
    assert cfg.model.head.loss.lambda_ == 0.25
    merge_options(cfg, {'load_from': dict(a=1)})  # in place of a None
    assert cfg.load_from == dict(a=1)
    with pytest.raises(
        ValueError, match=r'model.head.loss: mmentropy.ConfidencePenaltyLoss takes no lamda_; did you mean lambda_'
    ):
        merge_options(cfg, {'model.head.loss': dict(lamda_=1)})
    with pytest.raises(ValueError, match=r'model: .* takes no nek; did you mean neck'):
        merge_options(cfg, {'model': dict(nek=dict(type='x'))})


def test_a_variable_of_the_config_file_is_no_setting(tmp_path, capsys):
    (tmp_path / 'c.py').write_text('classes = 5\nmodel = dict(type="x", num_classes=classes)\n')
    cfg = load_config(str(tmp_path / 'c.py'), {'classes': 7})
    assert cfg.model.num_classes == 5
    assert 'classes: classes is a name that the config file uses and the run does not read' in capsys.readouterr().err


def test_a_mistake_in_the_config_file_is_named(tmp_path):
    for text, message in (
        ('a = (', 'SyntaxError'),
        ('a = b', "NameError: name 'b' is not defined"),
        ('a = 1 / 0', 'ZeroDiv'),
    ):
        (tmp_path / 'c.py').write_text(text)
        with pytest.raises(ValueError, match=rf'config {tmp_path}/c.py cannot be read: {message}'):
            load_config(str(tmp_path / 'c.py'))


@pytest.mark.parametrize('word', ['model.neck.temperature', '=3', 'a=[(1,2]'])
def test_words_that_are_no_options(word, capsys):
    parser = argparse.ArgumentParser()
    add_config_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', word])
    assert 'argument --cfg-options: ' in capsys.readouterr().err


def test_parameters():
    class Closed:
        def __init__(self, a, b=1):
            pass

    class Open(Closed):
        def __init__(self, c, **more):
            pass

    assert parameters(Closed) == ('a', 'b')
    assert parameters(Open) is None
    assert parameters(lambda x, *, y: 0) == ('x', 'y')


def test_a_new_group_holds_what_was_set_and_no_more(cfg):
    set_option(cfg, '+model.backbone.init_cfg.type=Pretrained +model.backbone.init_cfg.checkpoint=a.pth')
    assert cfg.model.backbone.init_cfg.to_dict() == dict(type='Pretrained', checkpoint='a.pth')
    cfg.val_cfg = None
    set_option(cfg, '+val_cfg.type=Loop')
    assert cfg.val_cfg.to_dict() == dict(type='Loop')
