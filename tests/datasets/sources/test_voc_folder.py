# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A folder in VOC's layout, image by image, against what was drawn into it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image

from mmentropy.datasets.preparing.voc_export import export_voc
from mmentropy.datasets.sources import VOCFolder


@pytest.fixture(scope='module')
def voc(tmp_path_factory) -> VOCFolder:
    root = tmp_path_factory.mktemp('data') / 'VOC2012'
    export_voc(root, 10, 4, image_size=64, seed=1)
    return VOCFolder(str(root), num_classes=5)


def test_what_was_exported_is_read(voc):
    keys = voc.ids()
    assert len(keys) == 10
    assert len(voc.ids('val')) == 4
    assert voc.classes == ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle')
    for key in keys[:3]:
        image, mask, labels = voc.image(key), voc.mask(key, (64, 64)), voc.labels(key)
        assert image.shape == (64, 64, 3)
        assert set(np.unique(mask)) - {0, 255} <= set((labels + 1).tolist())
        assert labels.dtype == np.int64
        assert voc.image_path(key).is_file()


def test_limit_and_missing_masks(voc):
    few = VOCFolder(voc.root, num_classes=5, limit=2, truth='Nowhere')
    assert few.ids() == voc.ids()[:2]
    assert few.mask(few.ids()[0]) is None


def test_what_is_wrong_is_told(voc, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'test\.txt does not exist; .* must have the layout of VOC2012'):
        voc.ids('test')
    with pytest.raises(ValueError, match=r'nothing\.xml: no annotation, so the image has no label'):
        voc.labels('nothing')
    (tmp_path / 'Annotations').mkdir()
    (tmp_path / 'Annotations/a.xml').write_text('<annotation/>')
    with pytest.raises(ValueError, match='no object, so the image has no label; take it off the list'):
        VOCFolder(str(tmp_path)).labels('a')
    box = '<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>'
    (tmp_path / 'Annotations/a.xml').write_text(f'<annotation><object><name>sofa</name>{box}</object></annotation>')
    assert VOCFolder(str(tmp_path)).labels('a').tolist() == [17]
    with pytest.raises(ValueError, match="'sofa' is none of the 5 classes"):
        VOCFolder(str(tmp_path), num_classes=5).labels('a')
    (tmp_path / 'SegmentationClass').mkdir()
    Image.fromarray(np.array([[21]], np.uint8)).save(tmp_path / 'SegmentationClass/a.png')
    with pytest.raises(ValueError, match='value 21 is neither in 0–20 nor 255'):
        VOCFolder(str(tmp_path)).mask('a')


def test_it_is_what_it_was(voc):
    """Its part of a stage's hash is the one of earlier versions, and a worker gets the settings alone."""
    assert voc.identity() == ['train', 5, None]
    assert voc.classes
    assert pickle.loads(pickle.dumps(voc)) == voc
    assert vars(pickle.loads(pickle.dumps(voc))).keys() == {'root', 'split', 'truth', 'num_classes', 'limit'}
