# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A set in COCO's layout, image by image."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from mmentropy.datasets.sources import CocoInstances


@pytest.fixture
def coco(tmp_path) -> CocoInstances:
    for split, number in (('train', 1), ('val', 2)):
        (tmp_path / f'{split}2017').mkdir()
        Image.new('RGB', (6, 4)).save(tmp_path / f'{split}2017/00{number}.jpg')
        square = dict(image_id=number, category_id=50, segmentation=[[0, 0, number, 0, number, 2, 0, 2]])
        content = dict(
            images=[dict(id=n, file_name=f'00{n}.jpg', width=6, height=4) for n in (number, 7)],
            categories=[dict(id=50, name='spoon'), dict(id=2, name='car')],
            annotations=[square],
        )
        (tmp_path / 'annotations').mkdir(exist_ok=True)
        (tmp_path / f'annotations/instances_{split}2017.json').write_text(json.dumps(content))
    return CocoInstances(str(tmp_path))


def test_what_is_in_the_file(coco, tmp_path):
    assert coco.classes == ('car', 'spoon')
    assert coco.ids() == ['001']  # 007 has no annotation
    assert CocoInstances(str(tmp_path), empty=True).ids() == ['001', '007']
    assert coco.ids('val') == ['002']
    assert coco.labels('001').tolist() == [1]
    assert coco.image('001').shape == (4, 6, 3)
    assert coco.mask('001', (4, 6)).dtype == np.uint8
    assert coco.mask('001').sum() == 2 * 2
    assert coco.on('val').mask('002').sum() == 2 * 4
    assert coco.on('val').image_path('002') == tmp_path / 'val2017/002.jpg'
    assert (coco.image_number('001'), coco.category_id(1)) == (1, 50)
    assert coco.identity() == ['train', 2, None, 'CocoInstances']
    assert pickle.loads(pickle.dumps(coco)).labels('001').tolist() == [1]


def test_what_changes_says_so(coco, tmp_path):
    labels, truth = coco.labels_from('001'), coco.truth_from('001')
    path = tmp_path / 'annotations/instances_train2017.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['segmentation'][0][0] = 0.5
    path.write_text(json.dumps(content))
    assert coco.labels_from('001') == labels
    assert coco.truth_from('001') != truth
    content['annotations'][0]['category_id'] = 2
    path.write_text(json.dumps(content) + ' ')
    assert coco.labels_from('001') != labels


def test_what_is_wrong_is_told(coco):
    with pytest.raises(ValueError, match=r"instances_train2017\.json: no image '002' in it"):
        coco.labels('002')
    with pytest.raises(ValueError, match='007 has no annotation, so the image has no label'):
        coco.labels('007')
    with pytest.raises(ValueError, match=r'001 has size \(4, 6\) there, the image \(8, 8\)'):
        coco.mask('001', (8, 8))
    with pytest.raises(FileNotFoundError, match=r'instances_test2017\.json does not exist'):
        coco.ids('test')
