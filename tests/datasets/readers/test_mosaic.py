# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Tiles, boxes, masks and labels of a mosaic come from where it says."""

from __future__ import annotations

from pathlib import Path

import cv2
import dataset_worlds as worlds
import numpy as np
import pytest

from mmentropy.datasets import CUBLocalization, MosaicLocalization, PartShapes, VOC2012MultiLabel
from mmentropy.registry import DATASETS

SHAPES = dict(type='mmentropy.PartShapes', split='val', length=20, num_classes=5, image_size=48)


def build(**options) -> MosaicLocalization:
    return DATASETS.build(dict(type='mmentropy.MosaicLocalization', dataset=SHAPES, tile_size=48, **options))


class TestMosaic:
    def test_query_tile_holds_the_query_image(self) -> None:
        data, source = build(), DATASETS.build(SHAPES)
        assert len(data) == len(source) == 20
        places = set()
        for i in range(20):
            info, single = data.get_data_info(i), source.get_data_info(i)
            x0, y0, x1, y1 = info['tile_bbox'].astype(int)
            places.add((x0, y0))
            assert (x1 - x0, y1 - y0) == (48, 48)
            assert np.array_equal(info['img'][y0:y1, x0:x1], single['img'])
            assert info['gt_label'] == single['gt_label']
            assert np.array_equal(info['gt_bboxes'], single['gt_bboxes'] + np.array([x0, y0, x0, y0]))
            for key in ('gt_mask', 'part_mask'):
                assert np.array_equal(info[key][y0:y1, x0:x1], single[key])
                assert info[key].sum() == single[key].sum()  # nothing of the other tiles
        assert places == {(0, 0), (48, 0), (0, 48), (48, 48)}

    def test_tiles_are_of_different_classes_and_of_the_source(self) -> None:
        data, source = build(), DATASETS.build(SHAPES)
        known = {source.get_data_info(i)['img'].tobytes(): source.get_data_info(i)['gt_label'] for i in range(20)}
        for i in range(20):
            info = data.get_data_info(i)
            tiles = [info['img'][y : y + 48, x : x + 48] for y in (0, 48) for x in (0, 48)]
            assert [known[tile.tobytes()] for tile in tiles] == info['tile_labels'].tolist()
            assert len(set(info['tile_labels'].tolist())) == 4

    def test_all_labels(self) -> None:
        one, every = build(), build(query='all')
        for i in range(10):
            info = every.get_data_info(i)
            assert np.array_equal(info['img'], one.get_data_info(i)['img'])
            assert info['gt_label'] == sorted(info['tile_labels'].tolist())
            assert info['gt_bbox_labels'].tolist() == info['tile_labels'].tolist()
            for box, tile in zip(info['gt_bboxes'], range(4)):
                assert (box[:2] >= [tile % 2 * 48, tile // 2 * 48]).all()
                assert (box[2:] <= [tile % 2 * 48 + 48, tile // 2 * 48 + 48]).all()
            assert info['gt_mask'].sum() > one.get_data_info(i)['gt_mask'].sum()

    def test_masks_of_the_classes_are_their_tiles(self) -> None:
        info = build(query='all').get_data_info(1)
        assert info['gt_class_masks'].shape == (4, 96, 96)
        assert np.array_equal(info['gt_class_masks'].sum(0), info['gt_mask'])
        for label, mask in zip(info['gt_label'], info['gt_class_masks']):
            tile = int(np.flatnonzero(info['tile_labels'] == label)[0])
            y, x = tile // 2 * 48, tile % 2 * 48
            assert mask[y : y + 48, x : x + 48].sum() == mask.sum() > 0
        assert 'gt_class_masks' not in build().get_data_info(1)

    def test_same_seed_same_mosaic(self) -> None:
        a, b, c = build(seed=4), build(seed=4), build(seed=5)
        assert all(np.array_equal(a.get_data_info(i)['img'], b.get_data_info(i)['img']) for i in range(5))
        assert any(not np.array_equal(a.get_data_info(i)['img'], c.get_data_info(i)['img']) for i in range(5))

    def test_photographs_are_scaled_with_boxes_and_masks(self, tmp_path: Path) -> None:
        root = worlds.cub(tmp_path)
        # Two more classes, so that four are there: the labels of the fixture are overwritten.
        worlds.text(root / 'classes.txt', *(f'{i} bird{i}' for i in range(1, 5)))
        worlds.text(root / 'image_class_labels.txt', '11 1', '12 2', '13 3', '14 4')
        worlds.text(root / 'train_test_split.txt', '11 0', '12 0', '13 0', '14 0')
        source = CUBLocalization(root, 'test', with_masks=True)
        info = MosaicLocalization(source, tile_size=(60, 20)).get_data_info(0)
        x0, y0, x1, y1 = info['tile_bbox'].astype(int)
        # 40×30 → 20×60: half as wide, twice as high.
        assert info['gt_bboxes'].tolist() == [[x0 + 3, y0 + 4, x0 + 18, y0 + 44]]
        raw = cv2.imread(str(root / 'images/001.Black_footed_Albatross/A_0046_18.jpg'))
        assert np.array_equal(info['img'][y0:y1, x0:x1], cv2.resize(raw, (20, 60), interpolation=cv2.INTER_LINEAR))
        assert np.array_equal(info['gt_mask'][y0:y1, x0:x1], worlds.rectangle(60, 20, 10, 30, 5, 15))

    def test_packed(self) -> None:
        sample = build(pipeline=[dict(type='mmentropy.PackLocalizationInputs')])[3]
        assert sample['inputs'].shape == (3, 96, 96)
        assert sample['data_samples'].tile_bbox.shape == (4,)
        assert sample['data_samples'].gt_label.tolist() == [3]

    def test_wrong_use(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match='3×3 mosaic needs 9 classes, the wrapped set has 5'):
            build(grid=3)
        with pytest.raises(ValueError, match='grid of 2'):
            build(grid=1)
        with pytest.raises(ValueError, match="'one' or 'all'"):
            build(query='none')
        with pytest.raises(ValueError, match='single-label'):
            MosaicLocalization(PartShapes(length=20, num_objects=2, num_classes=5))
        with pytest.raises(ValueError, match='single-label'):
            MosaicLocalization(VOC2012MultiLabel(worlds.voc(tmp_path), 'trainaug'))
