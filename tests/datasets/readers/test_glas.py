# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""GlaS in a small world of its own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import dataset_worlds as worlds
import numpy as np

from mmentropy.datasets import GlaS

LOAD = dict(type='LoadImageFromFile')
MASKS = dict(type='mmentropy.LoadLocalizationMasks')


class TestGlaS:
    def test_division(self, tmp_path: Path) -> None:
        worlds.glas(tmp_path)
        splits = {split: GlaS(tmp_path, split) for split in ('train', 'val', 'test')}
        assert {k: len(v) for k, v in splits.items()} == GlaS.COUNTS
        assert Counter(splits['val'].get_gt_labels().tolist()) == {0: 8, 1: 10}
        paths = {k: {v.get_data_info(i)['img_path'] for i in range(len(v))} for k, v in splits.items()}
        assert not paths['train'] & paths['val']
        other = GlaS(tmp_path, 'val', fold=1)
        assert {other.get_data_info(i)['img_path'] for i in range(18)} != paths['val']

    def test_glands_are_all_that_is_not_zero(self, tmp_path: Path) -> None:
        sample = GlaS(worlds.glas(tmp_path), 'train', pipeline=[LOAD, MASKS])[0]
        assert np.array_equal(
            sample['gt_mask'], worlds.rectangle(14, 20, 2, 6, 3, 9) + worlds.rectangle(14, 20, 8, 12, 3, 9)
        )
