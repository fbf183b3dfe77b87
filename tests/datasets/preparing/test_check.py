# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Whole sets pass; what is missing, twice there or damaged is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import dataset_worlds as worlds
import numpy as np
import pytest

from mmentropy.datasets.preparing.check import check_dataset
from mmentropy.datasets.preparing.splits import READERS, build_splits


@pytest.fixture
def small_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented counts of the fixtures."""
    counts = {
        'cub': dict(train=2, val=1, test=2),
        'voc12': dict(train=1, trainaug=2, val=1),
        'openimages30k': dict(train=2, val=2, test=2),
        'camelyon16': dict(train=2, val=2, test=2),
    }
    for name, count in counts.items():
        monkeypatch.setattr(READERS[name], 'COUNTS', count)


def faults(name: str, root: Path, deep: bool = False, **options) -> list[str]:
    return check_dataset(build_splits(name, str(root)), deep, **options).faults


@pytest.mark.usefixtures('small_counts')
class TestCheck:
    @pytest.mark.parametrize('deep', [False, True])
    def test_whole_sets_pass(self, tmp_path: Path, deep: bool) -> None:
        for name in ('cub', 'openimages30k', 'camelyon16'):
            root = getattr(worlds, {'openimages30k': 'openimages', 'camelyon16': 'camelyon'}.get(name, name))(
                tmp_path / name
            )
            report = check_dataset(build_splits(name, str(root)), deep, jobs=1)
            assert report.faults == []
            assert [split.images for split in report.splits] == list(READERS[name].COUNTS.values())
        assert report.splits[0].masks == 1
        assert 'no fault' in report.text()

    def test_counts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(READERS['cub'], 'COUNTS', dict(train=5994, val=1, test=2))
        (fault,) = faults('cub', worlds.cub(tmp_path))
        assert fault == f'{tmp_path}/images.txt: 2 images in train, 5994 are documented'

    def test_missing_files_are_all_named(self, tmp_path: Path) -> None:
        root = worlds.openimages(tmp_path)
        (root / 'test/01226z/aa.jpg').unlink()
        (root / 'test/01226z/aa_ignore.png').unlink()
        (root / 'val/0138tl/bb_m0138tl_1.png').unlink()
        found = faults('openimages30k', root)
        assert sorted(fault.split(': ')[1] for fault in found) == [
            f'{root}/test/01226z/aa.jpg does not exist',
            f'{root}/test/01226z/aa_ignore.png does not exist',
            f'{root}/val/0138tl/bb_m0138tl_1.png does not exist',
        ]
        assert all('image_ids.txt:' in fault for fault in found)

    def test_a_malformed_split_does_not_hide_the_others(self, tmp_path: Path) -> None:
        root = worlds.camelyon(tmp_path)
        worlds.text(root / 'splits/val.csv', 'a,b')
        (root / 'splits/test.csv').unlink()
        found = faults('camelyon16', root)
        assert len(found) == 2
        assert 'splits/val.csv:1: expected path,label,mask' in found[0]
        assert 'splits/test.csv does not exist' in found[1]

    def test_one_image_in_two_splits(self, tmp_path: Path) -> None:
        root = worlds.voc(tmp_path)
        # train is a part of trainaug by design: only those two may share.
        worlds.text(root / 'ImageSets/Segmentation/val.txt', '2007_000063')
        (fault,) = faults('voc12', root)
        assert 'val.txt:1: the same image is in val and' in fault
        assert 'trainaug.txt:2, in trainaug' in fault

    def test_the_same_bytes_under_two_names(self, tmp_path: Path) -> None:
        root = worlds.cub(tmp_path)
        train, test = 'images/001.Black_footed_Albatross/A_0002_55.jpg', 'images/002.Laysan_Albatross/L_0003_1033.jpg'
        shutil.copyfile(root / train, root / test)
        assert faults('cub', root) == []
        (fault,) = faults('cub', root, deep=True, jobs=1)
        assert fault == f'{root}/images.txt:4: the same image is in test and, {root}/images.txt:2, in train'

    def test_deep_finds_damage_inside_the_files(self, tmp_path: Path) -> None:
        root = worlds.voc(tmp_path)
        image = root / 'JPEGImages/2007_000032.jpg'
        image.write_bytes(image.read_bytes()[:-300])
        worlds.palette_mask(root / 'SegmentationClass/2007_000039.png', np.zeros((5, 5)))
        assert faults('voc12', root) == []
        found = faults('voc12', root, deep=True, jobs=2)
        assert sorted(fault.split(': ')[0].rsplit('/')[-1] for fault in found) == [
            'train.txt:1',
            'trainaug.txt:1',
            'val.txt:1',
        ]
        assert sum('is cut off' in fault for fault in found) == 2
        assert sum('mask of 5×5, but its image is 40×30' in fault for fault in found) == 1

    def test_deep_compares_sizes_with_the_index(self, tmp_path: Path) -> None:
        root = worlds.cub(tmp_path)
        sizes = root / 'metadata/val/image_sizes.txt'
        sizes.write_text(sizes.read_text().replace('56,42', '65,42'))
        assert faults('cub', root) == []
        (fault,) = faults('cub', root, deep=True, jobs=1)
        assert 'image_ids.txt:1' in fault
        assert 'is 56×42, but its index says [65, 42]' in fault

    def test_progress_counts_every_image(self, tmp_path: Path) -> None:
        root = worlds.camelyon(tmp_path)
        for deep in (False, True):
            done: list[int] = []
            check_dataset(build_splits('camelyon16', str(root)), deep, 1, done.append)
            assert sum(done) == 6
