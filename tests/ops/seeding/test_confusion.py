# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Counts and IoU against sets of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from mmentropy.ops.seeding.confusion import class_iou, confusion_matrix, ignore_value, label_type


def test_counts_pixel_by_pixel():
    rng = np.random.default_rng(0)
    truth, predicted = (rng.choice([0, 1, 2, 255], size=(9, 11)) for _ in range(2))
    want = np.zeros((4, 4), int)
    for t, p in zip(truth.ravel(), predicted.ravel()):
        if t != 255:
            want[t, 0 if p == 255 else p] += 1
    got = confusion_matrix(predicted.astype(np.uint8), truth.astype(np.uint8), 4)
    np.testing.assert_array_equal(got, want)
    # IoU of sets of pixels; class 3 is nowhere.
    called, valid = np.where(predicted == 255, 0, predicted), truth != 255
    for c in range(3):
        a, b = (truth == c) & valid, (called == c) & valid
        assert class_iou(got)[c] == (a & b).sum() / (a | b).sum()
    assert np.isnan(class_iou(got)[3])


def test_nothing_to_count():
    assert confusion_matrix(np.zeros((2, 2)), np.full((2, 2), 255), 3).tolist() == [[0] * 3] * 3
    assert np.isnan(class_iou(np.zeros((3, 3), int))).all()


def test_bad_input():
    with pytest.raises(ValueError, match=r'the prediction has size \(2, 2\), the truth \(2, 3\)'):
        confusion_matrix(np.zeros((2, 2)), np.zeros((2, 3)), 2)
    with pytest.raises(ValueError, match='a map holds class 2; classes are 0 … 1 or 255'):
        confusion_matrix(np.full((2, 2), 2), np.zeros((2, 2)), 2)


@pytest.mark.parametrize(
    ('classes', 'kind', 'ignore'), [(2, 'uint8', 255), (255, 'uint8', 255), (256, 'uint16', 65535)]
)
def test_the_highest_value_of_a_type_is_no_class(classes, kind, ignore):
    assert label_type(classes) == kind
    assert ignore_value(classes) == ignore
    assert classes - 1 < ignore


def test_three_hundred_classes():
    counts = confusion_matrix(np.array([[255, 299, 65535]]), np.array([[255, 65535, 299]]), 300)
    assert counts.sum() == 2
    assert (counts[255, 255], counts[299, 0]) == (1, 1)
    with pytest.raises(ValueError, match='70000 classes; a class map holds up to 65535'):
        label_type(70_000)
