# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The browsing tool draws what the data set holds, where it holds it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mmentropy.datasets import CUBLocalization, PartShapes
from mmentropy.visualization.browse import OUTLINES, draw_sample, montage, original_sample, packed_image
from mmentropy.visualization.panels import GT_COLOR

ROOT = Path(__file__).parents[2]
import dataset_worlds as worlds  # noqa: E402
from run_tool import run_tool  # noqa: E402

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


class TestCommand:
    CONFIG = str(ROOT / 'configs/_base_/datasets/partshapes.py')

    def test_both_modes(self, tmp_path: Path) -> None:
        for mode in ('original', 'pipeline'):
            out = tmp_path / f'{mode}.png'
            args = (self.CONFIG, '--split', 'val', '--mode', mode, '--number', '3', '--columns', '3', '--side', '64')
            done = run_tool('browse_dataset.py', *args, '--step', '2', '--out', str(out))
            assert done.code == 0
            assert '3 of 500 images' in done.out
            picture = cv2.imread(str(out))
            assert picture.shape == (64 + CAPTION, 3 * 64 + 2 * 4, 3)
        # Without boxes and at its own size, a tile is the image itself.
        data = PartShapes('val', 500, cooccurrence=0.0)
        assert np.array_equal(picture[CAPTION:, 68:132], data.get_data_info(2)['img'])

    def test_few_colours(self, tmp_path: Path) -> None:
        out = tmp_path / 'few.png'
        run_tool('browse_dataset.py', self.CONFIG, '--number', '2', '--side', '64', '--colors', '16', '--out', str(out))
        assert len(np.unique(cv2.imread(str(out)).reshape(-1, 3), axis=0)) <= 16

    def test_missing_data_set_is_one_sentence(self, tmp_path: Path) -> None:
        config = str(ROOT / 'configs/_base_/datasets/cub.py')
        nowhere = str(tmp_path / 'none')
        done = run_tool('browse_dataset.py', config, '--cfg-options', f'train_dataloader.dataset.data_root={nowhere}')
        assert done.code == 2
        assert f'{nowhere}/classes.txt does not exist; docs/datasets.md' in done.err
        assert 'prepare.py cub' in done.err
        assert 'Traceback' not in done.err
        assert run_tool('browse_dataset.py', self.CONFIG, '--start', '9999').code == 2
