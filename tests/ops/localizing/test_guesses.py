# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import numpy as np
import pytest

from mmentropy.ops.localizing.guesses import any_right, guesses


def hill(x: int, y: int, wide: int, narrow: int) -> np.ndarray:
    """A map at full size: 0.3 in a wide square, 1 in a narrow one around the same centre."""
    cam = np.zeros((60, 80), np.float32)
    cam[y - wide : y + wide, x - wide : x + wide] = 0.3
    cam[y - narrow : y + narrow, x - narrow : x + narrow] = 1
    return cam


CAMS = np.stack([hill(20 + 5 * k, 30, 12, 4) for k in range(5)])
WIDE = [[8 + 5 * k, 18, 31 + 5 * k, 41] for k in range(5)]
NARROW = [[16 + 5 * k, 26, 23 + 5 * k, 33] for k in range(5)]


def test_tight_and_loose_boxes_of_two_classes_and_a_loose_one_of_the_third():
    labels, boxes = guesses(CAMS, [7, 3, 9, 1, 2], 'tight_loose', (60, 80))
    assert labels.tolist() == [7, 7, 3, 3, 9]
    assert boxes.tolist() == [NARROW[0], WIDE[0], NARROW[1], WIDE[1], WIDE[2]]


def test_one_loose_box_for_each_of_five_classes():
    labels, boxes = guesses(CAMS, [7, 3, 9, 1, 2], 'top5', (60, 80))
    assert labels.tolist() == [7, 3, 9, 1, 2]
    assert boxes.tolist() == WIDE


def test_shares_are_of_the_maximum_unless_asked_for():
    """Three times the height on a ground of −2: the wide squares fall below zero; of the range they are 0.3 still."""
    _, boxes = guesses(CAMS * 3 - 2, [7, 3, 9, 1, 2], 'tight_loose', (60, 80))
    assert boxes.tolist() == [NARROW[0], NARROW[0], NARROW[1], NARROW[1], NARROW[2]]
    _, boxes = guesses(CAMS * 3 - 2, [7, 3, 9, 1, 2], 'tight_loose', (60, 80), normalize='minmax')
    assert boxes.tolist() == [NARROW[0], WIDE[0], NARROW[1], WIDE[1], WIDE[2]]


def test_fewer_classes_and_empty_maps_give_fewer_guesses():
    labels, boxes = guesses(np.stack([CAMS[0] * 0, CAMS[1]]), [4, 5], 'tight_loose', (60, 80))
    assert labels.tolist() == [5, 5]
    assert boxes.tolist() == [NARROW[1], WIDE[1]]
    assert guesses(CAMS[:0], [], size=(60, 80))[1].shape == (0, 4)


def test_a_guess_counts_only_with_class_and_box():
    labels, boxes = np.array([7, 3]), np.array([[0, 0, 9, 9], [20, 20, 29, 29]])
    truth = np.array([[0, 0, 9, 4]])  # 50 of 100 pixels: IoU one half
    assert any_right(labels, boxes, 7, truth)
    assert not any_right(labels, boxes, 3, truth)
    assert not any_right(labels, boxes, 7, truth, 0.51)
    assert not any_right(labels, boxes, 8, truth)
    assert any_right(labels, boxes, 3, np.array([[90, 90, 99, 99], [20, 20, 29, 29]]))


def test_refusals():
    with pytest.raises(ValueError, match='box_strategy'):
        guesses(CAMS, range(5), 'best')
    with pytest.raises(ValueError, match='below the tight'):
        guesses(CAMS, range(5), loose=0.5, tight=0.5)
    with pytest.raises(ValueError, match='5 maps came with 2 labels'):
        guesses(CAMS, [1, 2])
