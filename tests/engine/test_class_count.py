# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

from types import SimpleNamespace

import pytest
from mmengine.config import Config
from run_tool import run_tool

from mmentropy.engine.class_count import check_class_count

DEMO = 'configs/demo/resnet18_partshapes.py'


def dataset(count: int, **more) -> SimpleNamespace:
    return SimpleNamespace(metainfo={'classes': tuple(f'c{i}' for i in range(count))}, **more)


def test_a_head_may_have_more_classes_but_not_fewer():
    head = SimpleNamespace(num_classes=5)
    check_class_count(dataset(3), head)
    check_class_count(dataset(5), head)
    with pytest.raises(ValueError, match=r'Namespace has 6 classes \(c0, …, c5\), but the head SimpleNamespace has 5'):
        check_class_count(dataset(6), head)


def test_where_nothing_can_be_said():
    for data, head in (
        (SimpleNamespace(), SimpleNamespace(num_classes=1)),
        (SimpleNamespace(metainfo={'classes': None}), SimpleNamespace(num_classes=1)),
        (dataset(3), None),
        (dataset(3), SimpleNamespace(num_classes=None)),
    ):
        check_class_count(data, head)


def test_a_wrapped_set_is_called_by_its_own_name():
    with pytest.raises(ValueError, match='Config has 3 classes'):
        check_class_count(dataset(3, dataset=Config()), SimpleNamespace(num_classes=2))


def test_the_tool_says_it_before_the_first_step(tmp_path):
    options = ['train_dataloader.dataset.length=8', 'train_dataloader.num_workers=0', 'model.backbone.base_channels=8']
    options += ['train_dataloader.persistent_workers=False', 'model.backbone.stem_channels=8']
    options += ['data_preprocessor.num_classes=7']
    done = run_tool('train.py', DEMO, '--work-dir', str(tmp_path), '--no-validate', '--cfg-options', *options)
    assert done.code == 2
    assert 'error: PartShapes has 10 classes (' in done.err
    assert 'but the head CAMHead has 7; set data_preprocessor.num_classes=10' in done.err
