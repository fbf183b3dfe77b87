# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A source's images as a set to classify: the labels that the source gives, in a batch of its own classes."""

from __future__ import annotations

import dataset_worlds as worlds
import pytest

from mmentropy.datasets import SourceImages

COCO = dict(type='CocoInstances', split='train')


def test_the_source_s_labels(tmp_path):
    data = SourceImages(COCO, data_root=str(worlds.coco(tmp_path)))
    assert data.metainfo['classes'] == ('person', 'toothbrush')
    infos = [data.get_data_info(i) for i in range(len(data))]
    assert [info['gt_label'] for info in infos] == [[0, 1], [0]]  # the image without annotation is left out
    assert infos[0]['img_path'] == str(tmp_path / 'train2017/000000000009.jpg')
    assert data.get_cat_ids(0) == [0, 1]
    assert not data.test_mode
    other = SourceImages({**COCO, 'split': 'val', 'root': str(tmp_path)})
    assert (len(other), other.test_mode, other.get_data_info(0)['gt_label']) == (1, True, [0, 1])


def test_what_is_wrong_is_told(tmp_path):
    worlds.text(tmp_path / 'labels.csv', 'image,label,split', 'a.jpg,cat,train', 'b.jpg,,train')
    with pytest.raises(ValueError, match=r"labels\.csv:3: 'b\.jpg' has no label"):
        len(SourceImages(dict(type='LabelledImages', root=str(tmp_path))))
    with pytest.raises(FileNotFoundError, match=r'instances_train2017\.json does not exist'):
        len(SourceImages(COCO, data_root=str(tmp_path)))
