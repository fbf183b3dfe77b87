# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Names of modules that README or manual once gave go on working, and say where the module is now."""

from __future__ import annotations

import importlib
import sys

import pytest

OLD_AND_NEW = [
    ('mmentropy.ops.entropy', 'mmentropy.ops.certainty.entropy', 'location_entropy'),
    ('mmentropy.ops.maps', 'mmentropy.ops.mapping.scaling', 'upsample_map'),
    ('mmentropy.ops.cam', 'mmentropy.ops.mapping.class_maps', 'class_activation_maps'),
    ('mmentropy.ops.localization', 'mmentropy.ops.localizing.protocol', 'best_iou_by_threshold'),
    ('mmentropy.ops.shapes', 'mmentropy.datasets.drawn.shapes', 'draw_scene'),
    ('mmentropy.apis.loading', 'mmentropy.engine.model_loading', 'load_model'),
    ('mmentropy.apis.comparison', 'mmentropy.experiments.comparison', 'Run'),
    ('mmentropy.datasets.wsol_metadata', 'mmentropy.datasets.readers.wsol_metadata', 'read_metadata'),
    ('mmentropy.datasets.check', 'mmentropy.datasets.preparing.check', 'check_dataset'),
    ('mmentropy.datasets.browse', 'mmentropy.visualization.browse', 'montage'),
    ('mmentropy.visualization.tables', 'mmentropy.experiments.tables', 'markdown_table'),
    ('mmentropy.engine.command_line', 'mmentropy.command_line', 'positive_int'),
    ('mmentropy.segmentation.maps', 'mmentropy.segmentation.map_stages', 'multi_scale_maps'),
]


@pytest.mark.parametrize(('old', 'new', 'name'), OLD_AND_NEW)
def test_an_old_name_gives_the_same_module(old, new, name, monkeypatch):
    importlib.import_module(old.rsplit('.', 1)[0])
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=rf'{old} has moved to {new}'):
        module = importlib.import_module(old)
    assert module is sys.modules[new]
    assert module.__spec__.name == module.__name__ == new
    assert callable(getattr(module, name))


def test_what_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'mmentropy\.ops\.never'"):
        importlib.import_module('mmentropy.ops.never')


def test_every_old_name_leads_somewhere():
    from mmentropy._moved import MovedModules

    for package in ('ops', 'apis', 'datasets', 'visualization', 'explain', 'segmentation', 'evaluation'):
        importlib.import_module(f'mmentropy.{package}')
    new_names = {new for finder in sys.meta_path if isinstance(finder, MovedModules) for new in finder.moved.values()}
    assert len(new_names) > 60
    for new in new_names:
        assert importlib.util.find_spec(new) is not None, new
