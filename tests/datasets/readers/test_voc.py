# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""PASCAL VOC 2012 in a small world of its own."""

from __future__ import annotations

from pathlib import Path

import dataset_worlds as worlds
import numpy as np
from dataset_worlds import box_list

from mmentropy.datasets import VOC2012MultiLabel

LOAD = dict(type='LoadImageFromFile')
MASKS = dict(type='mmentropy.LoadLocalizationMasks')


class TestVOC:
    def test_difficult_objects_count(self, tmp_path: Path) -> None:
        data = VOC2012MultiLabel(worlds.voc(tmp_path), 'train')
        info = data.get_data_info(0)
        assert info['gt_label'] == [7, 17]
        # From 1 and inclusive to edges: 5..20 are the pixels 4..19.
        assert box_list(info) == [[4, 5, 20, 21], [0, 0, 40, 30]]
        assert info['gt_bbox_labels'].tolist() == [7, 17]

    def test_without_difficult_objects(self, tmp_path: Path) -> None:
        data = VOC2012MultiLabel(worlds.voc(tmp_path), 'trainaug', difficult=False)
        assert [data.get_data_info(i)['gt_label'] for i in range(len(data))] == [[7]]

    def test_parts_are_no_objects_and_boxes_may_be_fractions(self, tmp_path: Path) -> None:
        info = VOC2012MultiLabel(worlds.voc(tmp_path), 'val').get_data_info(0)
        assert info['gt_label'] == [14]
        assert box_list(info) == [[1, 2, np.float32(10.7), 11], [19, 2, 30, 11]]

    def test_255_is_ignored_not_foreground(self, tmp_path: Path) -> None:
        sample = VOC2012MultiLabel(worlds.voc(tmp_path), 'trainaug', pipeline=[LOAD, MASKS])[0]
        inside = worlds.rectangle(30, 40, 6, 20, 5, 19)
        assert np.array_equal(sample['gt_mask'], inside)
        assert np.array_equal(sample['ignore_mask'], worlds.rectangle(30, 40, 5, 21, 4, 20) - inside)
        assert sorted(np.unique(sample['gt_seg_map'])) == [0, 8, 255]

    def test_kept_classes_keep_their_boxes(self, tmp_path: Path) -> None:
        data = VOC2012MultiLabel(worlds.voc(tmp_path), 'train', classes=['sofa', 'dog'])
        info = data.get_data_info(0)
        assert (info['gt_label'], box_list(info), info['gt_bbox_labels'].tolist()) == ([0], [[0, 0, 40, 30]], [0])

    def test_kept_classes_keep_their_pixels(self, tmp_path: Path) -> None:
        root = worlds.voc(tmp_path)
        plain = VOC2012MultiLabel(root, 'trainaug', pipeline=[LOAD, MASKS])[0]
        cat = plain['gt_seg_map'] == 8  # palette index = label + 1
        kept = VOC2012MultiLabel(root, 'trainaug', classes=['sofa', 'cat'], pipeline=[LOAD, MASKS])[0]
        assert np.array_equal(kept['gt_seg_map'] == 2, cat)
        assert np.array_equal(kept['gt_mask'], cat)
        lost = VOC2012MultiLabel(root, 'trainaug', classes=['sofa'], pipeline=[LOAD, MASKS])[0]
        assert sorted(np.unique(lost['gt_seg_map'])) == [0, 255]
        assert not lost['gt_mask'].any()
        assert np.array_equal(lost['ignore_mask'], plain['ignore_mask'])
