# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Oxford flowers in a small world of their own."""

from __future__ import annotations

from pathlib import Path

import dataset_worlds as worlds

from mmentropy.datasets import OxfordFlowers102

LOAD = dict(type='LoadImageFromFile')
MASKS = dict(type='mmentropy.LoadLocalizationMasks')


class TestFlowers:
    def test_labels_from_one_and_split_order(self, tmp_path: Path) -> None:
        root = worlds.flowers(tmp_path)
        assert OxfordFlowers102(root, 'train').get_gt_labels().tolist() == [76, 101]
        test = OxfordFlowers102(root, 'test')
        assert [Path(test.get_data_info(i)['img_path']).stem for i in range(3)] == [f'image_0000{n}' for n in (6, 5, 4)]
        assert test.get_gt_labels().tolist() == [0, 2, 2]

    def test_blue_is_background(self, tmp_path: Path) -> None:
        mask = OxfordFlowers102(worlds.flowers(tmp_path), 'val', pipeline=[LOAD, MASKS])[0]['gt_mask']
        truth = worlds.rectangle(32, 48, 8, 24, 16, 40)
        # JPEG rings at the border, within its 8-pixel blocks.
        assert (mask != truth).mean() < 0.01
        assert mask[10:22, 18:38].all()
        assert not mask[:7].any()
