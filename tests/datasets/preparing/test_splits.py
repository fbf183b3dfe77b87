# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The splits that a check looks at."""

from __future__ import annotations

from pathlib import Path

import dataset_worlds as worlds
import pytest
from mmengine.config import Config

from mmentropy.datasets.preparing.splits import build_config_splits, build_splits

ROOT = Path(__file__).parents[3]


class TestConfigs:
    def test_splits_of_a_config(self, tmp_path: Path) -> None:
        cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/tinyimagenet_mosaic.py')
        for key in ('train_dataloader', 'val_dataloader'):
            data = cfg[key].dataset
            data.get('dataset', data).data_root = str(worlds.tiny_imagenet(tmp_path))
        found = build_config_splits(cfg)
        assert {split: len(data) for split, data in found.items()} == {'train': 6, 'val': 4}

    def test_nothing_to_check(self) -> None:
        with pytest.raises(ValueError, match='no data set of this package'):
            build_config_splits(Config.fromfile(ROOT / 'configs/_base_/datasets/partshapes.py'))
        with pytest.raises(KeyError, match='cubs'):
            build_splits('cubs', 'data')
