# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""PartShapes as a data set: the same image whoever asks for it and when, its fields and its options."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mmentropy.datasets import PartShapes
from mmentropy.datasets.drawn.shapes import (
    mask_box,
)


class TestDeterminism:
    def test_order_of_access_does_not_matter(self) -> None:
        data = PartShapes(length=30)
        forward = [data[i]['img'] for i in range(30)]
        for i in reversed(range(30)):
            assert np.array_equal(data[i]['img'], forward[i])

    def test_workers_draw_what_the_main_process_draws(self) -> None:
        data = PartShapes(length=12, pipeline=[dict(type='mmentropy.PackLocalizationInputs')])
        loader = DataLoader(data, batch_size=4, num_workers=2, collate_fn=list)
        drawn = [sample for batch in loader for sample in batch]
        for i, sample in enumerate(drawn):
            assert torch.equal(sample['inputs'], data[i]['inputs'])
            assert torch.equal(sample['data_samples'].part_mask, data[i]['data_samples'].part_mask)

    def test_splits_seeds_and_images_differ(self) -> None:
        images = [
            PartShapes(split, length=2, seed=seed)[i]['img']
            for split in ('train', 'val')
            for seed in (0, 1)
            for i in (0, 1)
        ]
        assert len({image.tobytes() for image in images}) == 8

    def test_length_and_subsets_keep_the_images(self) -> None:
        assert np.array_equal(PartShapes(length=9)[8]['img'], PartShapes(length=100, indices=[8])[0]['img'])


class TestDataset:
    def test_scenes_hold_several_classes(self) -> None:
        data = PartShapes(length=60, num_objects=(1, 3), image_size=96)  # scenes have it by default
        counts = [len(data.get_data_info(i)['gt_label']) for i in range(60)]
        assert set(counts) == {1, 2, 3}
        info = data.get_data_info(int(np.argmax(counts)))
        assert info['gt_label'] == sorted(info['gt_bbox_labels'].tolist())
        for box, label, number in zip(info['gt_bboxes'].astype(int), info['gt_bbox_labels'], (1, 2, 3)):
            here = info['gt_seg_map'] == label + 1
            assert mask_box(here) == tuple(box)
            assert np.array_equal(here, info['instances'] == number)
        assert np.array_equal(info['gt_seg_map'] > 0, info['gt_mask'] == 1)

    def test_fields_and_labels(self) -> None:
        data = PartShapes('val', length=25, num_classes=5)
        assert data.test_mode
        assert data.get_gt_labels().tolist() == [i % 5 for i in range(25)]
        assert data.metainfo['classes'] == ('shape_00', 'shape_01', 'shape_02', 'shape_03', 'shape_04')
        info = data.get_data_info(7)
        assert (info['gt_label'], info['sample_id'], info['ori_shape']) == (2, 7, (64, 64))
        assert 'img_path' not in info  # nothing to open
        assert data.get_cat_ids(7) == [2]
        assert PartShapes(length=3, multi_label=True).get_data_info(1)['gt_label'] == [1]

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (dict(split='dev'), "not 'dev'"),
            (dict(length=0), 'length of 1'),
            (dict(num_classes=1), 'num_classes=1'),
            (dict(image_size=16), 'size=16'),
            (dict(num_objects=(3, 2)), r'num_objects=\(3, 2\)'),
            (dict(cooccurrence=1.5), 'cooccurrence=1.5'),
            (dict(seed=-1), 'got -1'),
        ],
    )
    def test_wrong_options(self, options: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            PartShapes(**options)
