# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The four metadata files: what is read, and that every fault is named with file and line."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from mmentropy.datasets.readers.wsol_metadata import (
    LocalizationEntry,
    read_class_labels,
    read_image_ids,
    read_image_sizes,
    read_localization,
    read_metadata,
)

BOXES = {
    'image_ids.txt': 'a/x, y.jpg\nb.jpg',  # a comma in a name, no newline at the end
    'class_labels.txt': 'a/x, y.jpg,1\nb.jpg,0',
    'image_sizes.txt': 'a/x, y.jpg,500,335\nb.jpg,40,30',
    'localization.txt': 'a/x, y.jpg,60,27,385,331\na/x, y.jpg,0,0,500,335\nb.jpg,1,2,3.5,4',
}
MASKS = {
    'image_ids.txt': 'a.jpg\nb.jpg\n',
    'class_labels.txt': 'a.jpg,0\nb.jpg,99\n',
    'image_sizes.txt': '',
    'localization.txt': 'a.jpg,m/a_1.png,m/a_ignore.png\na.jpg,m/a_2.png,\nb.jpg,m/b.png,',
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_boxes(tmp_path):
    data = read_metadata(write(tmp_path, BOXES))
    assert data.image_ids == ['a/x, y.jpg', 'b.jpg']
    assert data.labels == {'a/x, y.jpg': 1, 'b.jpg': 0}
    assert data.sizes == {'a/x, y.jpg': (500, 335), 'b.jpg': (40, 30)}
    assert data.localization == {
        'a/x, y.jpg': LocalizationEntry(boxes=[(60, 27, 385, 331), (0, 0, 500, 335)], lines=[1, 2]),
        'b.jpg': LocalizationEntry(boxes=[(1, 2, 3.5, 4)], lines=[3]),
    }


def test_masks(tmp_path):
    data = read_metadata(write(tmp_path, MASKS))
    assert data.sizes == {}
    assert data.localization == {
        'a.jpg': LocalizationEntry(masks=['m/a_1.png', 'm/a_2.png'], ignore='m/a_ignore.png', lines=[1, 2]),
        'b.jpg': LocalizationEntry(masks=['m/b.png'], lines=[3]),
    }


def test_windows_line_ends_and_a_split_without_localisation(tmp_path):
    files = {name: text.replace('\n', '\r\n') for name, text in MASKS.items()} | {'localization.txt': ''}
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode())
    data = read_metadata(tmp_path)
    assert data.labels == {'a.jpg': 0, 'b.jpg': 99}
    assert data.localization == {}


@pytest.mark.parametrize(
    ('read', 'text', 'message'),
    [
        (read_image_ids, 'a.jpg\n\nb.jpg\na.jpg', r"file\.txt:4: 'a\.jpg' stands already in line 1"),
        (read_image_ids, '\n', r'file\.txt holds no image id'),
        (read_class_labels, 'a.jpg,0\nb.jpg,x', r'file\.txt:2: expected path,label .* found'),
        (read_class_labels, 'a.jpg,-1', r'file\.txt:1: expected path,label'),
        # Names for a billion classes once filled the memory.
        (read_class_labels, 'a.jpg,999999999', r'file\.txt:1: expected path,label with a label from 0 to 999999'),
        (read_class_labels, 'a.jpg', r'file\.txt:1: expected path,label'),
        (read_class_labels, 'a.jpg,0\na.jpg,1', r"file\.txt:2: 'a\.jpg' has a row already"),
        (read_image_sizes, 'a.jpg,500', r'file\.txt:1: expected path,width,height'),
        (read_image_sizes, 'a.jpg,0,5', r'file\.txt:1: expected path,width,height'),
        (read_localization, 'a.jpg,1,2,3,4\nb.jpg,5,2,3,4', r'file\.txt:2: the box needs x0 <= x1'),
        (read_localization, 'a.jpg,1,2,3,nan', r'file\.txt:1: the box needs x0 <= x1'),
        (read_localization, 'a.jpg', r'file\.txt:1: expected path,x0,y0,x1,y1 or path,mask,ignore'),
        (read_localization, 'a.jpg,,i.png', r'file\.txt:1: expected path,mask,ignore'),
        (
            read_localization,
            'a.jpg,m.png,\na.jpg,n.png,i.png',
            r'file\.txt:2: the ignore file belongs in the first row',
        ),
        (read_localization, 'a.jpg,1,2,3,4\nb.jpg,m.png,', r'file\.txt:2: boxes and masks are mixed'),
    ],
)
def test_malformed_rows_are_named(tmp_path, read, text, message):
    (tmp_path / 'file.txt').write_text(text)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / 'file.txt')


@pytest.mark.parametrize(
    ('name', 'old', 'new', 'message'),
    [
        ('class_labels.txt', '\nb.jpg,0', '', r"class_labels\.txt has no row for 'b\.jpg'"),
        ('class_labels.txt', 'b.jpg', 'c.jpg', r"class_labels\.txt has no row for 'b\.jpg'"),
        ('image_ids.txt', '\nb.jpg', '', r"class_labels\.txt has a row for 'b\.jpg', which is not in"),
        ('image_sizes.txt', '\nb.jpg,40,30', '', r"image_sizes\.txt has no row for 'b\.jpg'"),
        ('localization.txt', '\nb.jpg,1,2,3.5,4', '', r"localization\.txt has no row for 'b\.jpg'"),
        ('localization.txt', '3.5,4', '41,4', r"localization\.txt:3: the box .* lies outside 'b\.jpg', which is 40×30"),
        ('localization.txt', '60,27', '-60,27', r'localization\.txt:1: the box'),
    ],
)
def test_files_that_disagree_are_named(tmp_path, name, old, new, message):
    assert old in BOXES[name]
    with pytest.raises(ValueError, match=message):
        read_metadata(write(tmp_path, BOXES | {name: BOXES[name].replace(old, new)}))


def test_missing_and_binary_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'image_ids\.txt does not exist'):
        read_metadata(tmp_path)
    (tmp_path / 'image_ids.txt').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(ValueError, match=r'image_ids\.txt.* is not UTF-8'):
        read_image_ids(tmp_path / 'image_ids.txt')


REAL = Path(os.environ.get('MMENTROPY_SHARED', Path(__file__).parents[3].parent / 'shared')) / 'data'


@pytest.mark.skipif(
    not (REAL / 'wsol_metadata.tar.xz').is_file(), reason='the real metadata (shared/data/wsol_metadata) is not here'
)
def test_the_real_metadata(tmp_path):
    """Counts that the protocol and the set's authors give: images, and boxes or masks."""
    with tarfile.open(REAL / 'wsol_metadata.tar.xz') as archive:
        archive.extractall(tmp_path, filter='data')
    (root,) = {path.parents[2] for path in tmp_path.rglob('image_ids.txt')}
    counts = {}
    for split in ('CUB/train', 'CUB/val', 'CUB/test', 'ILSVRC/val', 'OpenImages/train', 'OpenImages/test'):
        data = read_metadata(root / split)
        counts[split] = len(data.image_ids), sum(len(place.lines) for place in data.localization.values())
    assert counts == {
        'CUB/train': (5994, 5994),
        'CUB/val': (1000, 1000),
        'CUB/test': (5794, 5794),
        'ILSVRC/val': (10000, 18532),
        'OpenImages/train': (29819, 0),
        'OpenImages/test': (5000, 7632),
    }
    per_class = [list(read_class_labels(root / 'CUB/val/class_labels.txt').values()).count(c) for c in range(200)]
    assert (min(per_class), max(per_class)) == (3, 6)
