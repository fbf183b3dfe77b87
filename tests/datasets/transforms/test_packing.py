# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What is packed is what the data set has, whatever transforms did to its copy."""

from __future__ import annotations

import numpy as np
import torch

from mmentropy.datasets.transforms.packing import PackLocalizationInputs
from mmentropy.datasets.transforms.sample_loading import keep_ground_truth

IMAGE = np.zeros((8, 9, 3), np.uint8)


def test_arrays_become_tensors_and_the_rest_is_the_hosts():
    part = np.ones((8, 9), np.uint8)[:, ::-1]  # not contiguous
    info = {'img': IMAGE, 'gt_label': 3, 'part_mask': part, 'ori_shape': (8, 9), 'sample_id': 4, 'unknown': 1}
    packed = PackLocalizationInputs()(info)
    assert packed['inputs'].shape == (3, 8, 9)
    sample = packed['data_samples']
    assert sample.gt_label.tolist() == [3]
    assert torch.equal(sample.part_mask, torch.ones(8, 9, dtype=torch.uint8))
    assert (sample.sample_id, sample.ori_shape) == (4, (8, 9))
    assert 'unknown' not in sample


def test_boxes_are_those_before_the_transforms():
    info = keep_ground_truth({'img': IMAGE, 'gt_bboxes': np.array([[1, 2, 5, 6]])})
    info['gt_bboxes'] *= 4  # as a Resize does
    assert PackLocalizationInputs()(info)['data_samples'].gt_bboxes.tolist() == [[1, 2, 5, 6]]


def test_what_a_transform_took_away_stays_away():
    info = keep_ground_truth({'img': IMAGE, 'gt_bboxes': np.array([[1, 2, 5, 6]])})
    del info['gt_bboxes']
    assert 'gt_bboxes' not in PackLocalizationInputs()(info)['data_samples']
