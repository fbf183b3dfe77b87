# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The files between stages: what comes back, and sentences for what is not ours."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mmentropy.datasets.label_png import read_label_png
from mmentropy.datasets.palette import palette_png
from mmentropy.segmentation.files import ImageMaps, read_grey, write_list


def test_maps_come_back_in_half_precision(tmp_path):
    rng = np.random.default_rng(0)
    maps, entropy = rng.random((3, 4, 5)), rng.random((4, 5))
    ImageMaps(np.array([2, 7]), maps, (30, 40), entropy, background=True).save(tmp_path / 'a.npz')
    found = ImageMaps.load(tmp_path / 'a.npz')
    assert found.labels.tolist() == [2, 7]
    assert (found.size, found.background) == ((30, 40), True)
    np.testing.assert_array_equal(found.maps, maps.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(found.entropy, entropy.astype(np.float16).astype(np.float32))
    with np.load(tmp_path / 'a.npz') as plain:  # readable without this package
        assert set(plain) == {'labels', 'maps', 'size', 'background', 'entropy'}


def test_probabilities_need_a_background():
    with pytest.raises(ValueError, match='class maps without a background; a seed stage adds it'):
        ImageMaps(np.array([0]), np.ones((1, 2, 2)), (2, 2)).probabilities()
    scores = np.array([[[1.0]], [[3.0]]])
    assert ImageMaps(np.array([0]), scores, (1, 1), background=True).probabilities().tolist() == [[[0.25]], [[0.75]]]


@pytest.mark.parametrize(
    ('fields', 'told'),
    [
        (dict(labels=np.array([0]), maps=np.ones((2, 3, 3)), size=[3, 3], background=False), '1 labels, but maps of'),
        (dict(labels=np.array([0]), maps=np.ones((1, 3, 3)), size=[3, 3], background=True), '1 labels, but maps of'),
        (dict(labels=np.array([0.5]), maps=np.ones((1, 3, 3)), size=[3, 3], background=False), 'labels are float64'),
        (dict(labels=np.array([0]), maps=np.ones((1, 3, 3)), size=[3, 3]), 'background'),
    ],
)
def test_files_of_others_are_refused(tmp_path, fields, told):
    np.savez(tmp_path / 'a.npz', **fields)
    with pytest.raises(ValueError, match=rf'a\.npz: not a map file of ours \(.*{told}'):
        ImageMaps.load(tmp_path / 'a.npz')
    with pytest.raises(FileNotFoundError, match=r'b\.npz: no maps of this image; run the stage that writes them'):
        ImageMaps.load(tmp_path / 'b.npz')


def test_masks(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(palette_png(np.array([[0, 5, 255]])).getvalue())
    assert read_label_png(path, 6, (1, 3)).tolist() == [[0, 5, 255]]
    with pytest.raises(ValueError, match='value 5 is neither in 0–4 nor 255'):
        read_label_png(path, 5)
    with pytest.raises(ValueError, match=r'the mask has size \(1, 3\), the image \(3, 1\)'):
        read_label_png(path, 6, (3, 1))
    Image.new('RGB', (3, 1)).save(path)
    with pytest.raises(ValueError, match='found an image of mode RGB; a mask has palette indices'):
        read_label_png(path, 6)
    path.write_bytes(b'no picture')
    with pytest.raises(ValueError, match='the mask cannot be decoded; replace the file'):
        read_label_png(path, 6)
    path.unlink()
    with pytest.raises(ValueError, match='the mask is missing'):
        read_label_png(path, 6)


def test_saliency_is_grey(tmp_path):
    Image.fromarray(np.array([[0, 51, 255]], np.uint8)).save(tmp_path / 'a.png')
    np.testing.assert_allclose(read_grey(tmp_path / 'a.png', (1, 3), 'map'), [[0, 0.2, 1]], rtol=1e-6)


def test_lists(tmp_path):
    write_list(tmp_path / 'ids.txt', ['a', 'ä'])
    assert (tmp_path / 'ids.txt').read_text(encoding='utf-8') == 'a\nä\n'
