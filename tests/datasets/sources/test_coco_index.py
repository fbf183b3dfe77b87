# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""COCO's JSON: ids, drawn masks, what is kept of large files, and every kind of fault in one sentence."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from mmentropy.datasets.sources import coco_index
from mmentropy.datasets.sources.coco_index import draw_segmentation, index_coco, read_coco
from mmentropy.ops.run_lengths import compress_runs, encode_runs


def rectangle(x0, y0, x1, y1) -> list[float]:
    return [x0, y0, x1, y0, x1, y1, x0, y1]


@pytest.fixture
def coco() -> dict:
    """Two images of 4 × 6, categories 18 and 3; in b a crowd of 3 everywhere but its first row, and an object on it."""
    crowd = np.ones((4, 6), bool)
    crowd[0] = False
    return dict(
        images=[
            dict(id=9, file_name='b.jpg', width=6, height=4),
            dict(id=4, file_name='a.jpg', width=6, height=4),
            dict(id=5, file_name='empty.jpg', width=6, height=4),
        ],
        categories=[dict(id=18, name='dog'), dict(id=3, name='car')],
        annotations=[
            dict(id=1, image_id=4, category_id=18, segmentation=[rectangle(1, 1, 2, 2)]),
            dict(id=2, image_id=4, category_id=3, segmentation=[rectangle(0, 0, 3, 3), rectangle(5, 3, 6, 4)]),
            dict(id=3, image_id=9, category_id=18, segmentation=dict(size=[4, 6], counts=[0, 8, 16])),
            dict(id=4, image_id=9, category_id=3, iscrowd=1, segmentation=dict(size=[4, 6], counts=encode_runs(crowd))),
        ],
    )


def test_by_hand(coco, tmp_path):
    index = index_coco(coco, tmp_path / 'a.json')
    assert index.names == ('car', 'dog')  # by increasing id
    assert index.categories == (3, 18)
    assert list(index.images) == ['a', 'b', 'empty']
    assert (index.images['b'].number, index.images['a'].labels, index.images['empty'].labels) == (9, (0, 1), ())
    # The small object stands on the large one, whatever their order; objects stand on crowds, whatever their size.
    a = [[1, 1, 1, 0, 0, 0], [1, 2, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1]]
    assert index.mask('a').tolist() == a
    assert index.mask('b').tolist() == [[2, 2, 0, 0, 0, 0]] + 3 * [[2, 2, 1, 1, 1, 1]]
    assert not index.mask('empty').any()


def test_compressed_run_lengths():
    mask = np.random.default_rng(0).random((7, 5)) < 0.5
    counts = compress_runs(encode_runs(mask))
    np.testing.assert_array_equal(draw_segmentation(dict(size=[7, 5], counts=counts), (7, 5)), mask)


def test_large_files_are_kept(coco, tmp_path, monkeypatch):
    monkeypatch.setenv('MMENTROPY_CACHE', str(tmp_path / 'cache'))
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(coco))
    small = read_coco(path)
    monkeypatch.setattr(coco_index, 'CACHE_FROM', 0)
    coco_index._read.cache_clear()
    large = read_coco(path)
    assert len(list((tmp_path / 'cache/coco').iterdir())) == 2
    coco_index._read.cache_clear()
    monkeypatch.setattr(coco_index, '_load', None)  # another process reads what is kept
    again = read_coco(path)
    for index in (large, again):
        assert (index.names, index.categories, index.images) == (small.names, small.categories, small.images)
        np.testing.assert_array_equal(index.mask('a'), small.mask('a'))
    # What is kept is damaged, or the file another one: it is read anew.
    monkeypatch.undo()
    monkeypatch.setenv('MMENTROPY_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(coco_index, 'CACHE_FROM', 0)
    next((tmp_path / 'cache/coco').glob('*.bin')).write_bytes(b'')
    coco_index._read.cache_clear()
    np.testing.assert_array_equal(read_coco(path).mask('a'), small.mask('a'))
    coco['categories'][0]['name'] = 'wolf'
    path.write_text(json.dumps(coco))
    assert read_coco(path).names == ('car', 'wolf')


def spoil(part, number, **changes):
    def change(content):
        content[part][number].update(changes)

    return change


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (spoil('annotations', 0, category_id=77), 'annotation 1 is of category 77, which is none of the 2 categories'),
        (spoil('annotations', 1, image_id=77), 'annotation 2 is of image 77, which is not in the file'),
        (spoil('categories', 1, name='dog'), "'dog' stands twice among the categories"),
        (spoil('categories', 1, id=18), '18 stands twice among the categories'),
        (spoil('images', 0, height='4'), "height is a whole number from 0, found '4'"),
        (spoil('images', 0, id=4), 'two images have one id'),
        (spoil('images', 0, file_name='a.png'), "'a.png' and 'a.jpg' would both be called 'a'"),
        (spoil('images', 0, file_name='../a.png'), 'is no path below the folder of the images'),
        (lambda content: content['images'][0].pop('width'), r"an entry is not as in COCO \(KeyError: 'width'\)"),
        (lambda content: content.pop('images'), "no list 'images' in it"),
        (lambda content: content['categories'].clear(), 'no category in it'),
    ],
)
def test_faults(coco, tmp_path, change, message):
    change(coco)
    with pytest.raises(ValueError, match=message) as raised:
        index_coco(coco, tmp_path / 'a.json')
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize(
    ('segmentation', 'message'),
    [
        ([[0, 0, 1, 1]], 'a polygon has three or more points'),
        (dict(size=[4, 5], counts=[20]), r'its run lengths have size \(4, 5\), the image \(4, 6\)'),
        (dict(size=[4, 6], counts=[20]), 'run lengths sum to 20'),
        (dict(size=[4, 6], counts='~'), 'is no letter of compressed run lengths'),
        ('x', 'a segmentation is a list of polygons or run lengths, found str'),
    ],
)
def test_what_cannot_be_drawn(coco, tmp_path, segmentation, message):
    coco['annotations'][0]['segmentation'] = segmentation
    index = index_coco(coco, tmp_path / 'a.json')
    with pytest.raises(ValueError, match=rf"a\.json: an annotation of 'dog' in image 4 cannot be drawn .*{message}"):
        index.mask('a')
    assert index.mask('b').any()  # the other images go on


def test_files(coco, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'a\.json does not exist; it holds the annotations'):
        read_coco(tmp_path / 'a.json')
    text = json.dumps(copy.deepcopy(coco))
    (tmp_path / 'a.json').write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match=r'a\.json is not JSON .*fetch or write it again'):
        read_coco(tmp_path / 'a.json')
