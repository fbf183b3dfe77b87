# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A folder of images and a table of labels, image by image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mmentropy.datasets.label_png import label_png
from mmentropy.datasets.sources import LabelledImages

TABLE = 'split,image,label\ntrain,photos/1.jpg,dog; cat\ntrain,photos/2.jpg,\nval,"odd, name.png",cat\n'


@pytest.fixture
def own(tmp_path) -> LabelledImages:
    (tmp_path / 'photos').mkdir()
    Image.new('RGB', (3, 2)).save(tmp_path / 'photos/1.jpg')
    (tmp_path / 'masks/photos').mkdir(parents=True)
    (tmp_path / 'masks/photos/1.png').write_bytes(label_png(np.array([[0, 1, 2], [255, 0, 0]]), 3).getvalue())
    (tmp_path / 'labels.csv').write_text(TABLE)
    return LabelledImages(str(tmp_path))


def test_rows(own, tmp_path):
    assert own.ids() == ['photos__1', 'photos__2']
    assert own.ids('val') == ['odd, name']
    assert own.ids('all') == ['photos__1', 'photos__2', 'odd, name']
    assert own.classes == ('cat', 'dog')
    assert own.labels('photos__1').tolist() == [0, 1]
    assert own.labels('odd, name').tolist() == [0]
    assert own.image('photos__1').shape == (2, 3, 3)
    assert own.labels_from('photos__1') == [['cat', 0], ['dog', 1]]
    assert own.labels_from('photos__2') == []


def test_masks_are_optional(own, tmp_path):
    assert own.mask('photos__1') is None
    assert not own.has_truth
    assert own.truth_from('photos__1') is None
    masked = LabelledImages(str(tmp_path), masks='masks')
    assert masked.has_truth
    assert masked.mask('photos__1', (2, 3)).tolist() == [[0, 1, 2], [255, 0, 0]]
    assert masked.mask('photos__2') is None
    with pytest.raises(ValueError, match=r'1\.png: the mask has size \(2, 3\), the image \(5, 5\)'):
        masked.mask('photos__1', (5, 5))


def test_the_order_of_the_classes(own, tmp_path):
    (tmp_path / 'names.txt').write_text('dog\ncat\nbird\n')
    named = LabelledImages(str(tmp_path), class_names='names.txt')
    assert named.classes == ('dog', 'cat', 'bird')
    assert named.labels('odd, name').tolist() == [1]
    assert named.labels_from('odd, name') != own.labels_from('odd, name')


def test_a_table_without_splits(tmp_path):
    (tmp_path / 'labels.csv').write_text('\ufeffimage,label\r\n1.jpg,a\r\n', encoding='utf-8')
    assert LabelledImages(str(tmp_path), split='all').ids() == ['1']
    with pytest.raises(ValueError, match="no image of the split 'train'; it has no column split, so split='all'"):
        LabelledImages(str(tmp_path)).ids()


@pytest.mark.parametrize(
    ('table', 'message'),
    [
        ('a.jpg,cat\n', r"labels\.csv:1: found the columns \['a\.jpg', 'cat'\]; a table has image and label"),
        ('image,label\n', r'labels\.csv: no image in it'),
        ('', r'labels\.csv:1: found the columns \[\]'),
        (
            'image,label\na,b.jpg,cat\n',
            r'labels\.csv:2: 3 columns, the first line has 2; a name with a comma stands in',
        ),
        ('image,label\na.jpg\n', r'labels\.csv:2: 1 columns, the first line has 2'),
        ('image,label\n,cat\n', r'labels\.csv:2: the row names no image'),
        ('image,label\na.jpg,cat;;dog\n', r"labels\.csv:2: 'a\.jpg' has an empty label between two semicolons"),
        ('image,label\na.jpg,cat;cat\n', r"labels\.csv:2: 'a\.jpg' has the label 'cat' twice"),
        ('image,label\na.jpg,cat\na.jpg,dog\n', r"labels\.csv:3: the image 'a\.jpg' stands twice \(line 2\)"),
        ('image,label\na.jpg,cat\na.png,dog\n', r"labels\.csv:3: the image 'a\.png' and 'a\.jpg' would both be called"),
        ('image,label\n../a.jpg,cat\n', r"labels\.csv:2: '\.\./a\.jpg' is no path below the folder of the images"),
        ('image,label\n"a.jpg,cat\n', r'labels\.csv:\d: no row of a CSV file'),
    ],
)
def test_faults(tmp_path, table, message):
    (tmp_path / 'labels.csv').write_text(table)
    with pytest.raises(ValueError, match=message) as raised:
        LabelledImages(str(tmp_path), split='all').ids()
    assert '\n' not in str(raised.value)


def test_what_is_wrong_is_told(own, tmp_path):
    with pytest.raises(ValueError, match=r"labels\.csv:3: 'photos/2\.jpg' has no label"):
        own.labels('photos__2')
    with pytest.raises(ValueError, match="no image of the split 'test'; its column split has train, val"):
        own.ids('test')
    with pytest.raises(ValueError, match=r"labels\.csv: no image 'x' in it"):
        own.image_path('x')
    with pytest.raises(FileNotFoundError, match=r'2\.jpg: no such image file'):
        own.image('photos__2')
    with pytest.raises(ValueError, match=r"labels\.csv:2: 'dog' is none of the 1 classes"):
        LabelledImages(str(tmp_path), class_names=['cat']).ids()
    with pytest.raises(FileNotFoundError, match=r'other\.csv does not exist; it holds the labels'):
        LabelledImages(str(tmp_path), labels_file='other.csv').ids()
