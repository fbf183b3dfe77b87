# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The browsing tool from the command line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from run_tool import run_tool

from mmentropy.datasets import PartShapes

ROOT = Path(__file__).parents[2]

CAPTION = 16


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
