# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Hidden cells of an image by hand."""

import numpy as np
import pytest

from mmentropy.ops.erasing.image_erasing import grid_edges, hide_cells


def test_hidden_cells_by_hand():
    image = np.arange(36, dtype=np.uint8).reshape(6, 6)
    hidden = np.array([[True, False], [False, True]])
    out = hide_cells(image, hidden, 99.6)
    expected = image.copy()
    expected[:3, :3] = expected[3:, 3:] = 100  # rounded to a whole level
    assert (out == expected).all()
    assert image[0, 0] == 0  # the input stays


def test_hidden_share_and_colour():
    image = np.zeros((64, 64, 3), np.float32)
    rng = np.random.default_rng(0)
    for _ in range(5):
        hidden = rng.random((4, 4)) < 0.5
        out = hide_cells(image, hidden, (1.0, 2.0, 3.5))
        where = (out != 0).all(2)
        assert where.mean() == hidden.mean()
        assert (out[where] == (1.0, 2.0, 3.5)).all()
    assert (hide_cells(image, np.ones((4, 4), bool), 1.0) == 1).all()


@pytest.mark.parametrize(('length', 'cells'), [(64, 4), (65, 4), (7, 7), (10, 3)])
def test_cells_cover_the_side_and_are_nearly_equal(length, cells):
    widths = np.diff(grid_edges(length, cells))
    assert widths.sum() == length
    assert widths.max() - widths.min() <= 1


def test_more_cells_than_pixels_is_an_error():
    with pytest.raises(ValueError, match='does not fit an image of 3×3'):
        hide_cells(np.zeros((3, 3)), np.ones((4, 4), bool), 0)
