# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The public metadata, where they are present, through the reader of their format."""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from mmentropy.datasets import (
    OpenImages30k,
    WSOLMetadataDataset,
)


def shared_metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    default = Path(__file__).parents[3].parent / 'shared'
    archive = Path(os.environ.get('MMENTROPY_SHARED', default)) / 'data/wsol_metadata.tar.xz'
    if not archive.is_file():
        pytest.skip(f'the public WSOL metadata are not present ({archive})')
    folder = tmp_path_factory.mktemp('metadata')
    with tarfile.open(archive) as file:
        file.extractall(folder, filter='data')
    return folder / 'wsol_metadata'


@pytest.fixture(scope='module')
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_metadata(tmp_path_factory)


class TestPublicMetadata:
    COUNTS = [
        ('CUB', 200, 'train', 5994, 5994),
        ('CUB', 200, 'val', 1000, 1000),
        ('CUB', 200, 'test', 5794, 5794),
        ('ILSVRC', 1000, 'val', 10_000, 18_532),
        ('ILSVRC', 1000, 'test', 50_000, 80_477),
        ('OpenImages', 100, 'train', 29_819, 0),
        ('OpenImages', 100, 'val', 2500, 0),
        ('OpenImages', 100, 'test', 5000, 0),
    ]

    @pytest.mark.parametrize(('name', 'classes', 'split', 'images', 'boxes'), COUNTS)
    def test_counts(self, metadata: Path, name: str, classes: int, split: str, images: int, boxes: int) -> None:
        data = WSOLMetadataDataset('photos', split, metadata_root=metadata / name, num_classes=classes)
        infos = [data.get_data_info(i) for i in range(len(data))]
        assert len(infos) == images
        assert sum(len(info.get('gt_bboxes', ())) for info in infos) == boxes
        labels = Counter(info['gt_label'] for info in infos)
        assert sorted(labels) == list(range(classes))
        if (name, split) == ('CUB', 'val'):
            assert (min(labels.values()), max(labels.values())) == (3, 6)
        if (name, split) == ('OpenImages', 'test'):
            assert sum(len(info['mask_paths']) for info in infos) == 7632

    def test_openimages_class_names(self, metadata: Path, tmp_path: Path) -> None:
        (tmp_path / 'metadata').symlink_to(metadata / 'OpenImages')
        names = OpenImages30k(tmp_path, 'val').metainfo['classes']
        assert len(set(names)) == 100
        assert names[:2] == ('01226z', '0138tl')
