# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Masks of a sample, joined; what does not fit is told."""

from __future__ import annotations

import dataset_worlds as worlds
import numpy as np
import pytest
from PIL import Image

from mmentropy.datasets.transforms.sample_loading import (
    BadSampleError,
    LoadLocalizationMasks,
    is_cut_off,
    keep_ground_truth,
    load_sample,
)
from mmentropy.ops.masks import voc_palette
from mmentropy.registry import TRANSFORMS

MASKS = dict(type='mmentropy.LoadLocalizationMasks')


def palette(path, rows: list) -> str:
    image = Image.fromarray(np.array(rows, np.uint8)).convert('P')
    image.putdata(np.ravel(rows).tolist())
    image.putpalette(voc_palette().ravel().tolist())
    image.save(path)
    return str(path)


def test_transforms_repeat_their_settings() -> None:
    assert repr(TRANSFORMS.build({**MASKS, 'size': (3, 4)})) == 'LoadLocalizationMasks(size=(3, 4))'


def test_masks_are_joined_and_an_object_is_never_ignored(tmp_path):
    for name, row in (('a', [1, 0, 0, 0]), ('b', [0, 9, 0, 0]), ('out', [0, 5, 5, 0])):
        worlds.gray_mask(tmp_path / f'{name}.png', np.array([row]))
    paths = [str(tmp_path / 'a.png'), str(tmp_path / 'b.png')]
    info = {'mask_paths': paths, 'ignore_path': str(tmp_path / 'out.png'), 'ori_shape': (1, 4)}
    found = LoadLocalizationMasks()(info)
    assert found['gt_mask'].tolist() == [[1, 1, 0, 0]]
    assert found['ignore_mask'].tolist() == [[0, 0, 1, 0]]


def test_no_mask_and_no_object():
    assert LoadLocalizationMasks()({'ori_shape': (1, 2)}) == {'ori_shape': (1, 2)}
    found = LoadLocalizationMasks()({'mask_paths': [], 'ori_shape': (1, 2)})
    assert found['gt_mask'].tolist() == found['ignore_mask'].tolist() == [[0, 0]]


def test_palette_masks_give_classes(tmp_path):
    first, second = palette(tmp_path / 'a.png', [[0, 1, 255, 0]]), palette(tmp_path / 'b.png', [[2, 0, 2, 255]])
    lookup = np.zeros(256, np.uint8)
    lookup[1], lookup[2], lookup[255] = 1, 9, 255
    info = {'mask_paths': [first, second], 'mask_format': 'palette', 'palette_lookup': lookup, 'ori_shape': (1, 4)}
    found = LoadLocalizationMasks()(info)
    assert found['gt_seg_map'].tolist() == [[9, 1, 9, 255]]  # a class goes before 255, and 255 before background
    assert found['gt_mask'].tolist() == [[1, 1, 1, 0]]
    assert found['ignore_mask'].tolist() == [[0, 0, 0, 1]]


def test_sizes(tmp_path):
    worlds.gray_mask(tmp_path / 'a.png', np.array([[0, 1]]))
    info = {'mask_paths': [str(tmp_path / 'a.png')], 'ori_shape': (1, 4)}
    assert LoadLocalizationMasks(size=(1, 4))(dict(info))['gt_mask'].tolist() == [[0, 0, 1, 1]]
    with pytest.raises(ValueError, match=r'a\.png is a mask of 2×1, but its image is 4×1'):
        LoadLocalizationMasks()(info)


def test_ground_truth_is_a_copy():
    boxes = np.array([[1, 2, 3, 4]])
    kept = keep_ground_truth({'gt_bboxes': boxes})
    boxes += 1
    assert kept['ground_truth']['gt_bboxes'].tolist() == [[1, 2, 3, 4]]
    assert keep_ground_truth({'gt_label': 3}) == {'gt_label': 3}


@pytest.mark.parametrize(
    ('data', 'cut'),
    [
        (b'\xff\xd8..\xff\xda...\xff\xd9', False),
        (b'\xff\xd8..\xff\xda...\xff\xd9 more', False),
        (b'\xff\xd8..\xff\xd9 a thumbnail \xff\xda...', True),
        (b'\x89PNG...IEND..', False),
        (b'\x89PNG...', True),
        (b'BM...', False),
    ],
)
def test_files_without_an_end(data, cut):
    assert is_cut_off(data) is cut


def test_a_bad_sample_says_where_it_stands(tmp_path):
    loader = LoadLocalizationMasks()
    with pytest.raises(BadSampleError, match=r'list:3: .*none\.png does not exist') as told:
        load_sample({'mask_paths': [str(tmp_path / 'none.png')]}, [loader], 'list:3')
    assert told.value.kind is FileNotFoundError
    with pytest.raises(BadSampleError, match=r'list:3: .* which is 4×1') as told:
        load_sample({'ori_shape': (1, 4), 'gt_bboxes': np.array([[0, 0, 9, 1]])}, [], 'list:3')
    assert told.value.kind is ValueError
