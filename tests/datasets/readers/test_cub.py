# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""CUB-200-2011 and CUBV2 in a small world of their own."""

from __future__ import annotations

from pathlib import Path

import dataset_worlds as worlds
import numpy as np
from dataset_worlds import box_list

from mmentropy.datasets import CUBLocalization

LOAD = dict(type='LoadImageFromFile')
MASKS = dict(type='mmentropy.LoadLocalizationMasks')


class TestCUB:
    def test_boxes_labels_and_names(self, tmp_path: Path) -> None:
        data = CUBLocalization(worlds.cub(tmp_path), 'train')
        assert len(data) == 2
        assert data.metainfo['classes'] == ('001.Black_footed_Albatross', '002.Laysan_Albatross')
        first, second = data.get_data_info(0), data.get_data_info(1)
        assert first['img_path'] == str(tmp_path / 'images/001.Black_footed_Albatross/A_0002_55.jpg')
        assert (first['gt_label'], second['gt_label']) == (0, 1)
        # x y width height → x0 y0 x1 y1
        assert box_list(first) == [[1, 2, 4, 6]]
        assert box_list(second) == [[0, 0, 40, 30]]
        assert first['gt_bboxes'].dtype == np.float32
        test = CUBLocalization(tmp_path, 'test')
        assert [test.get_data_info(i)['row'] for i in range(2)] == [1, 4]
        assert box_list(test.get_data_info(0)) == [[6, 2, 36, 22]]

    def test_greyscale_image_has_three_channels(self, tmp_path: Path) -> None:
        data = CUBLocalization(worlds.cub(tmp_path), 'train', pipeline=[LOAD])
        assert data[1]['img'].shape == (30, 40, 3)
        assert (data[1]['img'][..., 0] == data[1]['img'][..., 2]).all()
        assert (data[0]['img'][..., 0] != data[0]['img'][..., 2]).any()

    def test_segmentation_is_at_one_half(self, tmp_path: Path) -> None:
        data = CUBLocalization(worlds.cub(tmp_path), 'test', with_masks=True, pipeline=[LOAD, MASKS])
        assert np.array_equal(data[0]['gt_mask'], worlds.rectangle(30, 40, 5, 15, 10, 30))
        assert data[0]['ignore_mask'].sum() == 0

    def test_cubv2_is_the_validation_split(self, tmp_path: Path) -> None:
        data = CUBLocalization(worlds.cub(tmp_path), 'val', pipeline=[LOAD])
        assert len(data) == 1
        assert box_list(data[0]) == [[17, 13, 45, 29]]
        assert data[0]['img'].shape == (42, 56, 3)
        assert data[0]['gt_label'] == 1
