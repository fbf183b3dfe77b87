# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Ground truths by image id: boxes and masks of the public format, and samples of any of our data sets."""

from __future__ import annotations

from pathlib import Path

import dataset_worlds as worlds
import numpy as np
import pytest

from mmentropy.datasets import CUBLocalization, PartShapes
from mmentropy.datasets.readers.truths import DatasetTruths, MetadataTruths
from mmentropy.datasets.readers.wsol_metadata import LocalizationEntry, WSOLMetadata, read_metadata

PACK = [dict(type='mmentropy.PackLocalizationInputs')]


def test_boxes_of_the_metadata(tmp_path):
    truths = MetadataTruths(read_metadata(worlds.cub(tmp_path) / 'metadata/val'))
    assert truths.ids == ['002.Laysan_Albatross/307.jpg']
    assert not truths.masks
    sample = truths[0]
    assert (sample['img_path'], sample['sample_id'], sample['ori_shape']) == (truths.ids[0], 0, (42, 56))
    assert sample['gt_label'].tolist() == [1]
    assert sample['gt_bboxes'].tolist() == [[17, 13, 45, 29]]


def test_masks_of_the_metadata_are_read_and_joined(tmp_path):
    masks = {'a.png': worlds.rectangle(4, 6, 0, 2, 0, 3), 'b.png': worlds.rectangle(4, 6, 2, 4, 3, 6)}
    for name, mask in {**masks, 'ignore.png': np.ones((4, 6))}.items():
        worlds.gray_mask(tmp_path / name, mask)
    place = LocalizationEntry(masks=['a.png', 'b.png'], ignore='ignore.png')
    truths = MetadataTruths(WSOLMetadata(['x.jpg'], {'x.jpg': 7}, {}, {'x.jpg': place}), str(tmp_path), (4, 6))
    assert truths.masks
    sample = truths[0]
    union = masks['a.png'] | masks['b.png']
    np.testing.assert_array_equal(sample['gt_mask'], union)
    np.testing.assert_array_equal(sample['ignore_mask'], 1 - union)  # a pixel of the object is never ignored
    assert 'gt_bboxes' not in sample


def test_metadata_that_say_too_little():
    with pytest.raises(ValueError, match=r'no localization\.txt with boxes or masks'):
        MetadataTruths(WSOLMetadata(['x.jpg'], {'x.jpg': 0}, {}, {}))
    with pytest.raises(ValueError, match='boxes cannot be scaled'):
        MetadataTruths(WSOLMetadata(['x.jpg'], {'x.jpg': 0}, {}, {'x.jpg': LocalizationEntry(boxes=[(0, 0, 1, 1)])}))


def test_samples_of_a_data_set(tmp_path):
    data = CUBLocalization(worlds.cub(tmp_path), 'test', pipeline=[dict(type='LoadImageFromFile'), *PACK])
    truths = DatasetTruths(data)
    assert truths.ids[0] == 'images/001.Black_footed_Albatross/A_0046_18.jpg'
    assert not truths.masks
    assert truths[0]['img_path'] == truths.ids[0]
    assert truths[0]['gt_bboxes'].tolist() == [[6, 2, 36, 22]]
    drawn = DatasetTruths(PartShapes(length=3, pipeline=PACK))
    assert drawn.ids == ['0', '1', '2']


def test_digests_follow_boxes_and_the_bytes_of_masks(tmp_path):
    def boxes(*box: float) -> bytes:
        place = {'a.jpg': LocalizationEntry(boxes=[box])}
        return MetadataTruths(WSOLMetadata(['a.jpg'], {'a.jpg': 3}, {'a.jpg': (8, 9)}, place)).digest(0)

    assert boxes(1, 2, 5, 6) == boxes(1, 2, 5, 6) != boxes(1, 2, 5, 7)
    worlds.gray_mask(tmp_path / 'a.png', worlds.rectangle(4, 6, 0, 2, 0, 3))
    place = {'x.jpg': LocalizationEntry(masks=['a.png'])}
    truths = MetadataTruths(WSOLMetadata(['x.jpg'], {'x.jpg': 7}, {}, place), str(tmp_path), (4, 6))
    before = truths.digest(0)
    worlds.gray_mask(tmp_path / 'a.png', worlds.rectangle(4, 6, 0, 2, 0, 4))
    assert truths.digest(0) != before


def test_digests_of_a_data_set_leave_the_images_alone(tmp_path):
    root = worlds.cub(tmp_path)
    truths = DatasetTruths(CUBLocalization(root, 'test', pipeline=PACK))
    before = truths.digest(0)
    next(Path(root).rglob('A_0046_18.jpg')).unlink()
    assert truths.digest(0) == before
    truths.dataset.get_data_info = lambda index: dict(gt_bboxes=[[0, 0, 1, 1]])
    assert truths.digest(0) != before
