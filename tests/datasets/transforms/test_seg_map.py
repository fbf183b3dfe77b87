# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mmentropy.registry import DATASETS, TRANSFORMS


def test_mask_becomes_a_segmentation_map():
    mask = np.array([[0, 3], [1, 0]], np.uint8)
    out = TRANSFORMS.build(dict(type='MaskToSegMap'))(dict(gt_mask=mask, seg_fields=['other']))
    assert out['gt_seg_map'].tolist() == [[0, 1], [1, 0]]
    assert out['seg_fields'] == ['other', 'gt_seg_map']
    assert 'gt_mask' not in out


def test_a_sample_without_mask_is_named():
    with pytest.raises(ValueError, match=r'a.jpg has no gt_mask to learn from'):
        TRANSFORMS.build(dict(type='MaskToSegMap'))(dict(img_path='a.jpg'))


def test_mmsegmentations_transforms_read_it():
    """Under mmseg's scope our data set serves a segmentor: the packed map is the object's mask."""
    import mmseg.datasets  # noqa: F401

    init_default_scope('mmseg')
    pipeline = [dict(type='mmentropy.MaskToSegMap'), dict(type='PackSegInputs')]
    options = dict(type='mmentropy.PartShapes', split='val', length=3, image_size=64)
    packed = DATASETS.build(dict(options, pipeline=pipeline))[1]
    mask = DATASETS.build(options)[1]['gt_mask']
    assert np.array_equal(packed['data_samples'].gt_sem_seg.data[0].numpy(), mask)
    assert packed['inputs'].shape == (3, 64, 64)
