# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Exported scenes come back from VOC's own reader with the ground truth that they were drawn with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_tool import run_tool

from mmentropy.datasets import PartShapes, VOC2012MultiLabel
from mmentropy.datasets.preparing.voc_export import border_map, export_voc
from mmentropy.ops.masks import voc_palette

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='mmentropy.LoadLocalizationMasks')]


class TestRoundTrip:
    def test_reader_gives_what_was_drawn(self, tmp_path: Path) -> None:
        assert export_voc(tmp_path, 12, 6, seed=3) == {'train': 12, 'val': 6}
        for split, source, length in (('train', 'train', 12), ('trainaug', 'train', 12), ('val', 'val', 6)):
            drawn = PartShapes(
                source, length, num_classes=5, image_size=96, num_objects=(1, 3), seed=3, with_seg_map=True
            )
            read = VOC2012MultiLabel(tmp_path, split, pipeline=PIPELINE)
            assert len(read) == length
            for i in range(length):
                a, b = drawn.get_data_info(i), read[i]
                assert b['gt_label'] == a['gt_label']
                assert np.array_equal(b['gt_bboxes'], a['gt_bboxes'])
                assert np.array_equal(b['gt_bbox_labels'], a['gt_bbox_labels'])
                # JPEG at quality 95 of a grainy image.
                assert np.abs(b['img'].astype(int) - a['img']).mean() < 4
                if split == 'trainaug':  # no border there
                    assert np.array_equal(b['gt_seg_map'], a['gt_seg_map'])
                    continue
                certain = b['ignore_mask'] == 0
                assert np.array_equal(b['gt_seg_map'][certain], a['gt_seg_map'][certain])
                assert 0.005 < 1 - certain.mean() < 0.3

    def test_masks_are_palette_files(self, tmp_path: Path) -> None:
        export_voc(tmp_path, 1, 1)
        with Image.open(tmp_path / 'SegmentationClass/2007_000000.png') as image:
            assert image.mode == 'P'
            assert image.getpalette()[: 21 * 3] == voc_palette()[:21].ravel().tolist()

    def test_started_again_it_draws_only_what_is_missing(self, tmp_path: Path) -> None:
        export_voc(tmp_path, 3, 1)
        kept, lost = tmp_path / 'JPEGImages/2007_000000.jpg', tmp_path / 'Annotations/2007_000001.xml'
        before, text = kept.stat().st_mtime_ns, lost.read_bytes()
        lost.unlink()
        export_voc(tmp_path, 3, 1)
        assert kept.stat().st_mtime_ns == before
        assert lost.read_bytes() == text

    def test_too_many_classes(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match='num_classes=21 is too many'):
            export_voc(tmp_path, 1, 1, num_classes=21)

    def test_command(self, tmp_path: Path) -> None:
        options = (
            '--train',
            '2',
            '--val',
            '1',
            '--size',
            '64',
            '--classes',
            '4',
            '--objects',
            '2',
            '2',
            '--border',
            '0',
        )
        done = run_tool('dataset_tools/export_partshapes_voc.py', '--dst', str(tmp_path), *options)
        assert done.code == 0
        data = VOC2012MultiLabel(tmp_path, 'train', pipeline=PIPELINE)
        assert data[0]['img'].shape == (64, 64, 3)
        assert data[0]['ignore_mask'].sum() == 0


def test_border_map() -> None:
    instances = np.zeros((9, 9), dtype=np.uint8)
    instances[2:7, 2:7] = 1
    out = border_map(instances * 4, instances, 1)
    # One pixel on each side of the outline: the rings 1..7 and 2..6 are ignored, 3..5 is certain.
    expected = np.zeros((9, 9), dtype=np.uint8)
    expected[1:8, 1:8] = 255
    expected[3:6, 3:6] = 4
    assert np.array_equal(out, expected)
