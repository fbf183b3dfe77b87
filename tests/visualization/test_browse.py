# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A data set drawn: boxes and masks where they belong."""

from __future__ import annotations

from pathlib import Path

import dataset_worlds as worlds
import numpy as np

from mmentropy.datasets import CUBLocalization, PartShapes
from mmentropy.visualization.browse import OUTLINES, draw_sample, montage, original_sample, packed_image
from mmentropy.visualization.panels import GT_COLOR

CAPTION = 16


class TestDrawing:
    def test_box_and_masks_are_where_they_belong(self) -> None:
        black = np.zeros((50, 100, 3), dtype=np.uint8)
        part = worlds.rectangle(50, 100, 20, 30, 40, 60)
        info = dict(img=black, gt_bboxes=np.array([[10, 5, 90, 45]]), part_mask=part, gt_label=1)
        tile = draw_sample(info, 200, ('a', 'b'))[CAPTION:]
        assert tile.shape == (100, 200, 3)  # twice the size
        box = worlds.rectangle(100, 200, 10, 90, 20, 180)
        box[11:89, 21:179] = 0
        assert np.array_equal((tile == GT_COLOR).all(2), box == 1)
        red = (tile == OUTLINES['part_mask']).all(2)
        rows, columns = np.nonzero(red)
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (40, 59, 80, 119)
        assert not red[45:55, 85:115].any()  # an outline

    def test_original_sample_loads_masks(self, tmp_path: Path) -> None:
        data = CUBLocalization(worlds.cub(tmp_path), 'test', with_masks=True)
        info = original_sample(data, 0)
        assert info['gt_mask'].sum() == 200
        assert info['img'].shape == (30, 40, 3)

    def test_packed_image_is_the_input(self) -> None:
        data = PartShapes(length=2, pipeline=[dict(type='mmentropy.PackLocalizationInputs')])
        assert np.array_equal(packed_image(data[1]), data.get_data_info(1)['img'])

    def test_montage(self) -> None:
        tiles = [np.full((4, 6, 3), value, dtype=np.uint8) for value in (10, 20, 30)]
        picture = montage(tiles, 2)
        assert picture.shape == (4 + 4 + 4, 6 + 4 + 6, 3)
        assert (picture[:4, :6] == 10).all()
        assert (picture[:4, 10:] == 20).all()
        assert (picture[8:, :6] == 30).all()
        assert (picture[8:, 10:] == 255).all()
