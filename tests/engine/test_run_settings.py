# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What two trainings differ in, from the config and from the text that a checkpoint carries."""

from __future__ import annotations

import random

import pytest
import torch
from mmengine.config import Config

from mmentropy.engine.run_settings import TOLD, check_settings, differences, read_settings

SETTINGS = dict(
    model=dict(type='A', head=dict(loss=dict(type='L', weight=1.0)), layers=('a', 'b'), odd=float),
    train_dataloader=dict(batch_size=8, num_workers=2, dataset=dict(type='D', pipeline=[dict(type='P')])),
    train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
    randomness=dict(seed=3),
    default_hooks=dict(logger=dict(type='L')),
)
#: Key, other value, and the sentence; None where nothing is trained otherwise.
CHANGES = [
    ('optim_wrapper.optimizer.lr', 0.2, 'optim_wrapper.optimizer.lr: 0.1 there, 0.2 now'),
    ('model.head.loss.weight', 2.0, 'model.head.loss.weight: 1.0 there, 2.0 now'),
    ('model.head.loss.type', 'M', "model.head.loss.type: 'L' there, 'M' now"),
    ('train_dataloader.batch_size', 4, 'train_dataloader.batch_size: 8 there, 4 now'),
    ('train_dataloader.dataset.pipeline.0.flip', 1, 'train_dataloader.dataset.pipeline.0.flip: none there, 1 now'),
    ('train_cfg.max_epochs', 5, 'train_cfg.max_epochs: 3 there, 5 now'),
    ('randomness.seed', 4, 'randomness.seed: 3 there, 4 now'),
    ('model.layers', ('a',), "model.layers: ['a', 'b'] there, ['a'] now"),
    ('custom_hooks', [dict(type='H')], "custom_hooks: none there, [{'type': 'H'}] now"),
    ('train_dataloader.num_workers', 0, None),
    ('train_cfg.val_interval', 9, None),
    ('default_hooks.logger.type', 'M', None),
]


def config(folder, **options) -> Config:
    cfg = Config({**SETTINGS, 'work_dir': str(folder)})
    cfg.merge_from_dict(options)
    return cfg


def trained(folder) -> None:
    """A checkpoint as mmengine writes it."""
    torch.save({'meta': {'iter': 3, 'cfg': config(folder).pretty_text}, 'state_dict': {}}, folder / 'epoch_3.pth')


def test_a_text_gives_what_its_config_gives(tmp_path):
    cfg = config(tmp_path)
    found = read_settings(cfg.pretty_text)
    assert found.pop('model') == dict(SETTINGS['model'], layers=['a', 'b'], odd='float')
    assert found == dict(
        train_dataloader=dict(batch_size=8, dataset=dict(type='D', pipeline=[dict(type='P')])),
        train_cfg=dict(max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        randomness=dict(seed=3),
    )


@pytest.mark.parametrize(('key', 'value', 'sentence'), CHANGES)
def test_each_change_is_a_sentence(key, value, sentence, tmp_path, capsys):
    trained(tmp_path)
    check_settings(config(tmp_path, resume=True, **{key: value}))
    told = capsys.readouterr().err.splitlines()
    expected = f'resuming {tmp_path}/epoch_3.pth with another setting: {sentence}'
    assert told == ([] if sentence is None else [expected])
    if sentence is None:
        check_settings(config(tmp_path, **{key: value}))
        assert 'of an earlier training with these settings' in capsys.readouterr().err
    else:
        with pytest.raises(ValueError, match=r'holds epoch_3\.pth of a training with other settings') as error:
            check_settings(config(tmp_path, **{key: value}))
        assert sentence in str(error.value)


def test_another_number_of_processes_is_told(tmp_path, capsys):
    hub = {'runtime_info': {'random_states': [None, None]}}
    meta = {'iter': 3, 'cfg': config(tmp_path).pretty_text}
    torch.save({'meta': meta, 'message_hub': hub}, tmp_path / 'epoch_3.pth')
    check_settings(config(tmp_path, resume=True))
    assert 'with another setting: processes: 2 there, 1 now' in capsys.readouterr().err


def test_a_checkpoint_that_is_named_is_the_one_compared(tmp_path, capsys):
    (tmp_path / 'new').mkdir()
    trained(tmp_path)
    given = dict(resume=True, load_from=str(tmp_path / 'epoch_3.pth'))
    check_settings(config(tmp_path / 'new', **given, **{'train_cfg.max_epochs': 9}))
    assert 'train_cfg.max_epochs: 3 there, 9 now' in capsys.readouterr().err
    # To start from weights is no resuming: the folder is new, and so is the training.
    check_settings(config(tmp_path / 'new', load_from=given['load_from'], **{'train_cfg.max_epochs': 9}))
    assert capsys.readouterr().err == ''


def test_many_differences_are_counted():
    told = differences({}, {f'k{number:02d}': number for number in range(TOLD + 5)})
    assert told[0] == 'k00: none there, 0 now'
    assert told[TOLD:] == ['5 further settings differ']


def test_texts_that_somebody_has_changed_give_settings_or_nothing(tmp_path):
    """Nothing in them runs, and nothing but a dict comes back: 2000 mutations of a config's text."""
    text = config(tmp_path).pretty_text
    assert read_settings(f'model = open({str(tmp_path / "ran")!r}, "w")')['model'].startswith('open(')
    assert not (tmp_path / 'ran').exists()
    rng = random.Random(15)
    pieces = ['(', ')', '{', '[', "'", 'dict(', '*', '**a', ',', '=', '\x00', '\n', '-' * 50, '(' * 300, '1e999', 'ü']
    for _ in range(2000):
        at, end = sorted(rng.randrange(len(text)) for _ in range(2))
        mutant = text[:at] + rng.choice(pieces) * rng.randrange(3) + text[min(end, at + rng.randrange(20)) :]
        found = read_settings(mutant)
        assert isinstance(found, dict)
        assert all(isinstance(sentence, str) for sentence in differences(found, SETTINGS))
