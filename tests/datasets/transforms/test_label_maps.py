# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Masks of sixteen bits through mmsegmentation's transforms."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS, DefaultScope

from mmentropy.datasets.label_png import label_png
from mmentropy.datasets.transforms import LoadLabelMap


@pytest.mark.parametrize(('classes', 'ignore'), [(21, 255), (301, 65535)])
def test_classes_survive_the_augmentation(tmp_path, classes, ignore):
    mask = np.random.default_rng(0).choice([0, 5, classes - 1, ignore], (24, 16))
    (tmp_path / 'a.png').write_bytes(label_png(mask, classes).getvalue())
    results = LoadLabelMap(classes)({'seg_map_path': str(tmp_path / 'a.png'), 'seg_fields': []})
    np.testing.assert_array_equal(results['gt_seg_map'], mask)
    results |= {'img': np.zeros((24, 16, 3), np.uint8), 'img_shape': (24, 16), 'ori_shape': (24, 16)}
    steps = [
        dict(type='Resize', scale=(32, 48)),
        dict(type='RandomCrop', crop_size=(48, 32), cat_max_ratio=0.9, ignore_index=ignore),
        dict(type='RandomFlip', prob=1.0),
        dict(type='PackSegInputs'),
    ]
    with DefaultScope.overwrite_default_scope('mmseg'):
        for step in steps:
            results = TRANSFORMS.build(step)(results)
    got = results['data_samples'].gt_sem_seg.data[0].numpy()
    np.testing.assert_array_equal(got, mask.repeat(2, 0).repeat(2, 1)[:, ::-1])


def test_a_value_that_is_no_class_is_told(tmp_path):
    (tmp_path / 'a.png').write_bytes(label_png(np.array([[30]]), 255).getvalue())
    with pytest.raises(ValueError, match=r'a\.png: value 30 is neither in 0–20 nor 255'):
        LoadLabelMap(21)({'seg_map_path': str(tmp_path / 'a.png')})
    assert repr(LoadLabelMap(21)) == 'LoadLabelMap(num_classes=21)'
