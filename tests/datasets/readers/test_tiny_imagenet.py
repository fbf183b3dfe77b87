# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Tiny ImageNet in a small world of its own."""

from __future__ import annotations

from pathlib import Path

import dataset_worlds as worlds
import numpy as np
import pytest
from dataset_worlds import box_list
from mmpretrain.datasets.transforms import PackInputs

from mmentropy.datasets import TinyImageNetLocalization

LOAD = dict(type='LoadImageFromFile')
PACK = dict(type='mmentropy.PackLocalizationInputs')


class TestTinyImageNet:
    def test_inclusive_boxes(self, tmp_path: Path) -> None:
        data = TinyImageNetLocalization(worlds.tiny_imagenet(tmp_path), 'train')
        assert [data.get_data_info(i)['gt_label'] for i in range(6)] == [0, 0, 0, 1, 1, 1]
        # One pixel wide: x0 = x1 is a box here.
        assert box_list(data.get_data_info(1)) == [[5, 6, 5, 60]]
        val = TinyImageNetLocalization(tmp_path, 'val')
        assert val.get_gt_labels().tolist() == [0, 0, 1, 1]
        assert box_list(val.get_data_info(3)) == [[0, 32, 44, 62]]

    def test_first_n_classes_and_chosen_classes(self, tmp_path: Path) -> None:
        worlds.tiny_imagenet(tmp_path)
        first = TinyImageNetLocalization(tmp_path, 'val', classes=1)
        assert (len(first), first.metainfo['classes']) == (2, ('bullfrog',))
        second = TinyImageNetLocalization(tmp_path, 'val', classes=['n01698640'])
        assert second.get_gt_labels().tolist() == [0, 0]
        assert second.get_data_info(0)['img_path'].endswith('val_2.JPEG')
        turned = TinyImageNetLocalization(tmp_path, 'val', classes=['n01698640', 'n01641577'])
        assert turned.get_gt_labels().tolist() == [1, 1, 0, 0]
        with pytest.raises(ValueError, match=r'unknown.*n00000000'):
            TinyImageNetLocalization(tmp_path, 'val', classes=['n00000000'])
        with pytest.raises(ValueError, match='has 2 classes'):
            TinyImageNetLocalization(tmp_path, 'val', classes=3)

    def test_classes_are_called_by_their_first_name(self, tmp_path: Path) -> None:
        worlds.tiny_imagenet(tmp_path)
        assert TinyImageNetLocalization(tmp_path, 'val').metainfo['classes'] == ('bullfrog', 'American alligator')
        chosen = TinyImageNetLocalization(tmp_path, 'val', classes=['n01698640'])
        assert chosen.metainfo['classes'] == ('American alligator',)
        worlds.text(tmp_path / 'words.txt', 'n01641577\tfrog, toad', 'n01698640\tfrog')
        both = TinyImageNetLocalization(tmp_path, 'val')
        assert both.metainfo['classes'] == ('frog (n01641577)', 'frog (n01698640)')
        worlds.text(tmp_path / 'words.txt', 'n01641577 bullfrog')
        with pytest.raises(ValueError, match=r'words\.txt:1: expected wnid, names between tabs'):
            TinyImageNetLocalization(tmp_path, 'val')
        (tmp_path / 'words.txt').unlink()
        assert TinyImageNetLocalization(tmp_path, 'val').metainfo['classes'] == ('n01641577', 'n01698640')

    def test_indices_serialisation_and_multi_label(self, tmp_path: Path) -> None:
        worlds.tiny_imagenet(tmp_path)
        plain = TinyImageNetLocalization(tmp_path, 'train', serialize_data=False)
        packed = TinyImageNetLocalization(tmp_path, 'train')
        for i in (0, 4, -1):
            a, b = plain.get_data_info(i), packed.get_data_info(i)
            assert a.keys() == b.keys()
            assert a['sample_id'] == b['sample_id'] == i % 6
            assert np.array_equal(a['gt_bboxes'], b['gt_bboxes'])
            assert a['img_path'] == b['img_path']
        for chosen, rows in ((2, [0, 1]), (-2, [4, 5]), ([3, 0], [3, 0]), (100, list(range(6)))):
            part = TinyImageNetLocalization(tmp_path, 'train', indices=chosen)
            assert [part.get_data_info(i)['img_path'] for i in range(len(part))] == [
                packed.get_data_info(i)['img_path'] for i in rows
            ]
        assert len(packed.get_subset([5])) == 1
        many = TinyImageNetLocalization(tmp_path, 'train', multi_label=True)
        assert (many.get_data_info(4)['gt_label'], many.get_cat_ids(4)) == ([1], [1])

    def test_packing_keeps_what_the_host_packs(self, tmp_path: Path) -> None:
        worlds.tiny_imagenet(tmp_path)
        ours = TinyImageNetLocalization(tmp_path, 'val', pipeline=[LOAD, PACK])[1]
        host = TinyImageNetLocalization(tmp_path, 'val', pipeline=[LOAD, PackInputs()])[1]
        assert (ours['inputs'] == host['inputs']).all()
        sample = ours['data_samples']
        assert sample.gt_label == host['data_samples'].gt_label
        assert (sample.sample_id, sample.ori_shape) == (1, (64, 64))
        assert sample.gt_bboxes.tolist() == [[0, 32, 44, 62]]
        # Nothing is invented for a set without masks.
        assert 'gt_mask' not in sample
        assert 'tile_bbox' not in sample
