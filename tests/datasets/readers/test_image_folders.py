# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Every preset on a small set in its published layout."""

from __future__ import annotations

from pathlib import Path

import dataset_worlds as worlds
import pytest

from mmentropy.datasets import ImageFolders
from mmentropy.datasets.readers.image_folders import PRESETS

CLASSES = {
    'sun397': ('/a/abbey', '/c/church/outdoor'),
    'indoor67': ('airport_inside', 'kitchen'),
    'scene15': ('CALsuburb', 'kitchen'),
    'caltech101': ('Faces', 'accordion'),
    'caltech256': ('001.ak47', '002.american-flag'),
    'action40': ('applauding', 'blowing_bubbles'),
    'event8': ('RockClimbing', 'polo'),
}


@pytest.mark.parametrize('name', PRESETS)
def test_classes_and_splits(name: str, tmp_path: Path) -> None:
    worlds.image_folders(tmp_path, name)
    train, test = (ImageFolders(tmp_path, split, preset=name) for split in ('train', 'test'))
    assert train.metainfo['classes'] == test.metainfo['classes'] == CLASSES[name]
    paths = [{data.get_data_info(i)['img_path'] for i in range(len(data))} for data in (train, test)]
    assert not paths[0] & paths[1]
    assert all(Path(path).is_file() for path in paths[0] | paths[1])
    count = (PRESETS[name].per_class or {'train': 2})['train']
    assert sorted(train.get_gt_labels().tolist()) == [0] * count + [1] * count
    assert set(test.get_gt_labels().tolist()) == {0, 1}
    for info in (train.get_data_info(0), test.get_data_info(len(test) - 1)):
        name_of_class = CLASSES[name][info['gt_label']].rpartition('/')[2]
        assert name_of_class in info['img_path']


def test_partition_draws_anew_and_picks_the_list(tmp_path: Path) -> None:
    worlds.image_folders(tmp_path / 'scene15', 'scene15')
    one, two, again = (
        {data.get_data_info(i)['img_path'] for i in range(len(data))}
        for data in (ImageFolders(tmp_path / 'scene15', preset='scene15', partition=n) for n in (1, 2, 1))
    )
    assert one == again != two
    worlds.image_folders(tmp_path / 'sun397', 'sun397')
    with pytest.raises(FileNotFoundError, match=r'Training_03\.txt does not exist; docs/datasets\.md tells how sun397'):
        ImageFolders(tmp_path / 'sun397', preset='sun397', partition=3)


def test_what_is_wrong_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"preset must be one of .*, got 'sun'"):
        ImageFolders(tmp_path, preset='sun')
    with pytest.raises(FileNotFoundError, match=r'is no folder; docs/datasets\.md tells how caltech101 is laid out'):
        ImageFolders(tmp_path, preset='caltech101')
    worlds.image_folders(tmp_path / 'sun397', 'sun397')
    worlds.text(tmp_path / 'sun397/Partitions/Training_01.txt', '/b/beach/sun_1.jpg')
    with pytest.raises(ValueError, match=r"Training_01\.txt:1: '/b/beach/sun_1\.jpg' belongs to no class"):
        ImageFolders(tmp_path / 'sun397', preset='sun397')
    worlds.photo(tmp_path / 'few/polo/1.jpg')
    with pytest.raises(ValueError, match="polo has no image left for 'test'"):
        ImageFolders(tmp_path / 'few', 'test', preset=dict(images='', per_class=dict(train=5, test=None)))
