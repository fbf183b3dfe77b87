# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What a writer's files hold, read back."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mmentropy.apis.localizer import Localization
from mmentropy.apis.writing import ResultWriter
from mmentropy.evaluation.map_files import MapFolder


def test_files_hold_what_was_found(tmp_path):
    image = np.full((40, 60, 3), 80, np.uint8)
    cams = np.zeros((2, 4, 6), np.float32)
    cams[0, 1:3, 2:5] = 1
    cams[1, 0, 0] = 2
    boxes = [np.array([[20, 10, 50, 30]], np.float32), np.zeros((0, 4), np.float32)]
    found = Localization('sub/x.jpg', (40, 60), np.array([3, 1]), ('ß "d"', 'b'), np.float32([0.7, 0.2]), cams, boxes)
    writer = ResultWriter(tmp_path, settings='one')
    assert writer.done('sub/x.jpg') is None
    writer.write(found, image)
    writer.add(found)
    writer.close()
    back = writer.done('sub/x.jpg')
    np.testing.assert_array_equal(back.maps, cams)
    np.testing.assert_array_equal(back.boxes[0], boxes[0])
    assert back.boxes[1].shape == (0, 4)
    assert (back.class_names, back.size, back.labels.tolist()) == (('ß "d"', 'b'), (40, 60), [3, 1])
    assert ResultWriter(tmp_path, settings='two').done('sub/x.jpg') is None
    coco = json.loads((tmp_path / 'boxes.json').read_text())
    assert coco['images'] == [{'id': 1, 'file_name': 'sub/x.jpg', 'width': 60, 'height': 40}]
    assert coco['annotations'] == [
        {'id': 1, 'image_id': 1, 'category_id': 3, 'bbox': [20, 10, 30, 20], 'area': 600, 'score': 0.7, 'iscrowd': 0}
    ]
    assert coco['categories'] == [{'id': 1, 'name': 'b'}, {'id': 3, 'name': 'ß "d"'}]
    mask = cv2.imread(str(tmp_path / 'masks/sub/x.jpg.3.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask > 0, found.masks[0])
    assert cv2.imread(str(tmp_path / 'overlays/sub/x.jpg.1.jpg')).shape == (299 + 20, 448, 3)  # enlarged
    assert not list(tmp_path.rglob('*.part'))
    with pytest.raises(ValueError, match='unknown kind'):
        ResultWriter(tmp_path, ('pictures',))


def test_maps_go_into_shards_and_are_taken_up_from_there(tmp_path):
    """What a killed run has written is there for the next one; other settings are refused, as shards only grow."""
    cams, boxes = np.eye(4, dtype=np.float32)[None], [np.zeros((0, 4), np.float32)]
    found = Localization('sub/x.jpg', (40, 60), np.array([3]), ('b',), np.float32([0.7]), cams, boxes)
    killed = ResultWriter(tmp_path, ('maps',), settings='one', shards=True)
    killed.write(found, None)
    killed.shards._open.close()  # the lock goes with the process, the shard is not closed
    writer = ResultWriter(tmp_path, ('maps',), settings='one', shards=True)
    assert writer.done('other.jpg') is None
    np.testing.assert_array_equal(writer.done('sub/x.jpg').maps, cams)
    found.name = 'y.jpg'
    writer.write(found, None)
    writer.close()
    assert sorted(path.name for path in (tmp_path / 'maps').glob('*.tar')) == ['maps-00000.tar']
    maps = MapFolder(tmp_path / 'maps', ['sub/x.jpg', 'y.jpg'])
    np.testing.assert_array_equal(maps.read('y.jpg').cams, cams)
    assert (maps.read('sub/x.jpg').labels.tolist(), maps.read('sub/x.jpg').size) == ([3], (40, 60))
    with pytest.raises(ValueError, match=r'maps-00000\.tar:sub/x\.jpg\.npz was made with other settings'):
        ResultWriter(tmp_path, ('maps',), settings='two', shards=True).done('sub/x.jpg')
