# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The data set of a config's split, and what is said where there is none."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from mmentropy.engine.dataset_building import build_dataset, dataloader_of


def config(**loaders: dict) -> Config:
    return Config({f'{split}_dataloader': dict(dataset=dataset) for split, dataset in loaders.items()})


def test_a_split_in_the_configs_scope_with_settings_of_ones_own():
    shapes = dict(type='mmentropy.PartShapes', length=3, pipeline=[dict(type='PackInputs')])  # mmpretrain's
    cfg = config(train=shapes, val=dict(shapes, split='val', length=2))
    before = cfg.pretty_text
    assert 'inputs' in build_dataset(cfg, 'train')[0]
    raw = build_dataset(cfg, 'val', pipeline=[])
    assert len(raw) == 2
    assert raw[0]['img'].shape == (64, 64, 3)
    assert cfg.pretty_text == before


def test_a_split_that_is_not_there():
    assert dataloader_of(config(test=dict(type='X')), 'test').dataset.type == 'X'
    with pytest.raises(ValueError, match='the config has no val_dataloader; its splits are train, test'):
        dataloader_of(config(train={}, test={}), 'val')
    with pytest.raises(ValueError, match='the config has no train_dataloader; it has no data sets at all'):
        build_dataset(Config({}), 'train')
