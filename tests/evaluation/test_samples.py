# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What metrics read of a sample: values, and sentences for what is missing or does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmentropy.evaluation.counting import CountingMetric
from mmentropy.evaluation.samples import Case, to_numpy

SEG_MAP = np.array([[3, 0, 255], [3, 6, 6]], np.uint8)


def case(**fields) -> Case:
    """Two classes with boxes, maps and scores."""
    plain = {
        'img_path': 'a.jpg',
        'ori_shape': (30, 20, 3),
        'gt_label': torch.tensor([2, 5]),
        'gt_bboxes': np.arange(12.0).reshape(3, 4),
        'gt_bbox_labels': [5, 2, 5],
        'gt_mask': np.uint8([[1, 0, 0], [1, 1, 1]]),
        'cams': torch.arange(8.0).reshape(2, 2, 2).to(torch.bfloat16),
        'cam_labels': torch.tensor([5, 2]),
        'entropy_map': np.log([[1.0, 2.0], [4.0, 8.0]]),
        'pred_score': torch.tensor([0.1, 0.6, 0.3]),
    }
    return Case(plain | fields, 'SomeMetric')


def test_values():
    one = case()
    assert (one.name, one.size, one.labels, one.predicted) == ('a.jpg', (30, 20), [2, 5], 1)
    assert [(label, boxes.tolist()) for label, boxes in one.boxes_by_label()] == [
        (2, [[4, 5, 6, 7]]),
        (5, [[0, 1, 2, 3], [8, 9, 10, 11]]),
    ]
    assert one.class_map(2).tolist() == [[4, 5], [6, 7]]
    assert one.localizing_map(5, 'cam').tolist() == [[0, 1], [2, 3]]
    np.testing.assert_allclose(one.localizing_map(2, 'cam*weight'), [[4, 2.5], [1.5, 0.875]], rtol=1e-6)
    np.testing.assert_allclose(one.localizing_map(9, 'weight'), [[1, 0.5], [0.25, 0.125]], rtol=1e-6)
    assert case(cam_labels=[-1]).class_map(7).tolist() == [[0, 1], [2, 3]]  # serves every class
    assert case(pred_label=torch.tensor([7])).predicted == 7
    assert case(pred_score=None).predicted is None
    assert to_numpy(torch.tensor([1.5], dtype=torch.float16)).dtype == np.float32


def test_masks_of_the_classes():
    seen = case(gt_seg_map=SEG_MAP)
    assert [mask.tolist() for mask in seen.class_masks()] == [
        [[True, False, False], [True, False, False]],
        [[False, False, False], [False, True, True]],
    ]
    assert seen.left_out().tolist() == [[False, False, True], [False, False, False]]
    both = case(gt_seg_map=SEG_MAP, ignore_mask=np.uint8([[0, 1, 0], [0, 0, 0]]))
    assert both.left_out().tolist() == [[False, True, True], [False, False, False]]
    masks = np.uint8([[[1, 0, 0]] * 2, [[0, 0, 1]] * 2])
    assert np.array_equal(case(gt_seg_map=SEG_MAP, gt_class_masks=masks).class_masks(), masks)
    assert case().class_masks() is None  # the union of two
    alone = case(gt_label=[2])
    assert np.array_equal(alone.class_masks()[0], alone.mask)
    assert alone.left_out() is None


@pytest.mark.parametrize(
    ('fields', 'read', 'error', 'message'),
    [
        ({'gt_label': None}, lambda one: one.labels, KeyError, "a.jpg has no 'gt_label', which SomeMetric reads"),
        ({'gt_label': []}, lambda one: one.labels, ValueError, 'it has no label'),
        ({}, lambda one: one.label, ValueError, 'it has 2 labels, but SomeMetric evaluates one class an image'),
        ({'gt_bbox_labels': [0, 1, 3]}, lambda one: one.boxes_by_label(), ValueError, 'none of its labels'),
        ({}, lambda one: one.class_map(3), ValueError, r'maps of the classes \[5, 2\] but not of its own, 3'),
        ({'entropy_map': None}, lambda one: one.localizing_map(2, 'weight'), KeyError, "no 'entropy_map'"),
        ({'gt_class_masks': np.zeros((3, 2, 2))}, lambda one: one.class_masks(), ValueError, 'holds 3 masks for the 2'),
        ({'img_path': None, 'sample_id': 4}, lambda one: one.tile, KeyError, "sample 4 has no 'tile_bbox'"),
    ],
)
def test_what_is_missing_is_named(fields, read, error, message):
    with pytest.raises(error, match=message):
        read(case(**fields))


def test_a_metric_names_the_sample():
    class Labels(CountingMetric):
        def count_case(self, case):
            return {'label': np.array(case.label)}

        def figures(self, totals):
            return {}

    with pytest.raises(ValueError, match=r'^a\.jpg: it has 2 labels, but Labels evaluates one class'):
        Labels().process(None, [case().sample])


def test_a_field_is_converted_once():
    class Counted:
        asked = 0

        def __array__(self, dtype=None, copy=None):
            Counted.asked += 1
            return np.array([[0.0, 0.0, 2.0, 2.0]])

    one = case(gt_bboxes=Counted())
    for _ in range(3):
        assert one.boxes.tolist() == [[0, 0, 2, 2]]
    assert Counted.asked == 1
