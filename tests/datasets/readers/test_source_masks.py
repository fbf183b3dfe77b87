# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A source's images with a folder of masks, as mmsegmentation's transforms read them."""

from __future__ import annotations

import dataset_worlds as worlds
import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope

from mmentropy.datasets import SourceMasks
from mmentropy.datasets.label_png import label_png

COCO = dict(type='CocoInstances', split='train')
STEPS = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]


def test_a_folder_of_masks_in_mmseg(tmp_path):
    root = worlds.coco(tmp_path / 'coco')
    mask = np.zeros((30, 40), int)
    mask[3:9, 5:8], mask[0] = 2, 255
    (tmp_path / 'masks').mkdir()
    (tmp_path / 'masks/000000000025.png').write_bytes(label_png(mask, 3).getvalue())
    worlds.text(tmp_path / 'masks/ids.txt', '000000000025')
    settings = dict(source=COCO, masks=str(tmp_path / 'masks'), data_root=str(root), pipeline=STEPS)
    with DefaultScope.overwrite_default_scope('mmseg'):
        data = DATASETS.build(dict(type='mmentropy.SourceMasks', **settings))
        sample = data[0]
    assert len(data) == 1
    assert data.metainfo['classes'] == ('background', 'person', 'toothbrush')
    assert data.metainfo['palette'] == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert sample['inputs'].shape == (3, 30, 40)
    np.testing.assert_array_equal(sample['data_samples'].gt_sem_seg.data[0].numpy(), mask)


def test_the_true_masks(tmp_path):
    worlds.text(tmp_path / 'labels.csv', 'image,label', 'a.jpg,cat')
    table = dict(type='LabelledImages', root=str(tmp_path), split='all', masks='masks')
    assert SourceMasks(table).get_data_info(0)['seg_map_path'] == str(tmp_path / 'masks/a.png')
    with pytest.raises(ValueError, match='the true mask of 000000000009 is no file; name a folder of masks'):
        SourceMasks(COCO, data_root=str(worlds.coco(tmp_path / 'coco')))
    with pytest.raises(FileNotFoundError, match=r'ids\.txt does not exist; run the stage before'):
        SourceMasks(table, masks=str(tmp_path))
