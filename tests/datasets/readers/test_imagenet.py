# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""ILSVRC and ImageNetV2 in a small world of their own."""

from __future__ import annotations

from pathlib import Path

import dataset_worlds as worlds
from dataset_worlds import box_list

from mmentropy.datasets import ImageNetLocalization

LOAD = dict(type='LoadImageFromFile')


class TestImageNet:
    def test_train_list_and_odd_files(self, tmp_path: Path) -> None:
        data = ImageNetLocalization(worlds.ilsvrc(tmp_path), 'train', pipeline=[LOAD])
        assert data.get_gt_labels().tolist() == [0, 0, 1]
        assert 'gt_bboxes' not in data.get_data_info(0)
        # CMYK JPEG and PNG under a JPEG's name.
        assert [data[i]['img'].shape for i in range(3)] == [(30, 40, 3)] * 3

    def test_training_boxes_come_from_the_xml(self, tmp_path: Path) -> None:
        data = ImageNetLocalization(worlds.ilsvrc(tmp_path), 'train', train_boxes=True)
        assert len(data) == 1
        assert box_list(data.get_data_info(0)) == [[3, 4, 20, 21]]

    def test_ilsvrc_validation_is_the_test_split(self, tmp_path: Path) -> None:
        data = ImageNetLocalization(worlds.ilsvrc(tmp_path), 'test')
        assert data.get_gt_labels().tolist() == [1, 0]
        assert box_list(data.get_data_info(0)) == [[1, 8, 39, 19]]
        assert box_list(data.get_data_info(1)) == [[i, i, i + 10, i + 12] for i in range(7)]

    def test_imagenet_v2(self, tmp_path: Path) -> None:
        data = ImageNetLocalization(worlds.ilsvrc(tmp_path), 'val', pipeline=[LOAD])
        assert [box_list(data[i]) for i in range(2)] == [[[1, 2, 3, 4], [5, 6, 7, 8]], [[0, 0, 39, 29]]]
        assert data.get_gt_labels().tolist() == [0, 1]
