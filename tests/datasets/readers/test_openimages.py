# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""OpenImages30k in a small world of its own."""

from __future__ import annotations

from pathlib import Path

import dataset_worlds as worlds
import numpy as np
import pytest

from mmentropy.datasets import OpenImages30k

LOAD = dict(type='LoadImageFromFile')
MASKS = dict(type='mmentropy.LoadLocalizationMasks')


class TestOpenImages:
    def test_masks_are_joined_and_the_foreground_is_never_ignored(self, tmp_path: Path) -> None:
        data = OpenImages30k(worlds.openimages(tmp_path), 'test', pipeline=[LOAD, {**MASKS, 'size': (40, 60)}])
        assert data.metainfo['classes'][:3] == ('01226z', '0138tl', 'class_2')
        sample = data[0]
        both = worlds.rectangle(40, 60, 0, 20, 0, 20) + worlds.rectangle(40, 60, 0, 20, 40, 60)
        assert np.array_equal(sample['gt_mask'], both)
        # ignore covers columns 0..29 of all rows; where the object is, it does not count.
        assert np.array_equal(sample['ignore_mask'], worlds.rectangle(40, 60, 0, 40, 0, 30) & (1 - both))
        assert data[1]['ignore_mask'].sum() == 0

    def test_a_mask_of_another_size_is_an_error_unless_a_size_is_set(self, tmp_path: Path) -> None:
        data = OpenImages30k(worlds.openimages(tmp_path), 'test', pipeline=[LOAD, MASKS])
        with pytest.raises(ValueError, match=r'image_ids.txt:1: .*_1\.png is a mask of 30×20, but its image is 60×40'):
            data[0]

    def test_training_has_no_masks(self, tmp_path: Path) -> None:
        data = OpenImages30k(worlds.openimages(tmp_path), 'train', pipeline=[LOAD, MASKS])
        assert len(data) == 2
        assert 'gt_mask' not in data[0]
