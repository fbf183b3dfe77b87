# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Camelyon16's patches in a small world of their own."""

from __future__ import annotations

from pathlib import Path

import dataset_worlds as worlds
import numpy as np

from mmentropy.datasets import Camelyon16Patches

LOAD = dict(type='LoadImageFromFile')
MASKS = dict(type='mmentropy.LoadLocalizationMasks')


class TestCamelyon:
    def test_normal_patches_have_an_empty_mask(self, tmp_path: Path) -> None:
        worlds.camelyon(tmp_path)
        for split in ('train', 'val', 'test'):
            data = Camelyon16Patches(tmp_path, split, pipeline=[LOAD, MASKS])
            assert data.get_gt_labels().tolist() == [0, 1]
            assert data[0]['gt_mask'].shape == (32, 32)
            assert data[0]['gt_mask'].sum() == 0
            assert np.array_equal(data[1]['gt_mask'], worlds.rectangle(32, 32, 4, 12, 8, 24))
