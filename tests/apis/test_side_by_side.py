# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Each way of looking gets a column with its own map, name and score."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmentropy.apis import Localization
from mmentropy.apis.side_by_side import side_by_side
from mmentropy.visualization.panels import PRED_COLOR


def look(corner: int):
    """A map that is high in one corner of a 4×4 grid."""
    cam = np.zeros((1, 4, 4), np.float32)
    cam[0, corner, corner] = 1

    def localize(image: np.ndarray) -> Localization:
        return Localization('', image.shape[:2], np.array([1]), ('dog',), np.array([0.5]), cam)

    return localize


def reds(picture: np.ndarray) -> np.ndarray:
    """(x, y) of the pixels of a box that was read."""
    y, x = np.nonzero((picture == PRED_COLOR).all(2))
    return np.stack([x, y], 1)


def test_every_column_has_its_own_box(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((40, 40, 3), np.uint8))
    looks = {'first': look(0), 'last': look(3)}
    picture = side_by_side(tmp_path / 'a.png', looks, tile=80, threshold=0.5)
    red = reds(picture)
    # Three tiles of 80 pixels with gaps of 4: the image, then the columns.
    first, last = red[red[:, 0] < 168], red[red[:, 0] >= 168]
    assert first[:, 0].min() == 84
    assert first[:, 0].max() < 84 + 40
    assert last[:, 0].max() == 247
    assert last[:, 0].min() >= 168 + 40
    assert last[:, 1].min() > first[:, 1].max()
    two = side_by_side([tmp_path / 'a.png', np.zeros((40, 40, 3), np.uint8)], looks, tile=80)
    assert two.shape[0] > picture.shape[0] + 80


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / 'a.png').write_text('no image')
    with pytest.raises(ValueError, match=r'a\.png'):
        side_by_side(tmp_path / 'a.png', {'cam': look(0)})
