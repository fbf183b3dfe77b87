# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Class maps of eight and sixteen bits, written and read by one door."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mmentropy.datasets.label_png import label_png, read_indices, read_label_png


@pytest.mark.parametrize(('classes', 'ignore', 'mode'), [(21, 255, 'P'), (255, 255, 'P'), (301, 65535, 'I;16')])
def test_what_is_written_is_read(tmp_path, classes, ignore, mode):
    values = np.random.default_rng(0).choice([0, 1, classes - 1, ignore], (9, 7))
    path = tmp_path / 'a.png'
    path.write_bytes(label_png(values, classes).getvalue())
    with Image.open(path) as image:
        assert image.mode == mode
    got = read_label_png(path, classes, (9, 7))
    assert got.dtype == (np.uint8 if ignore == 255 else np.uint16)
    np.testing.assert_array_equal(got, values)
    np.testing.assert_array_equal(read_indices(path), values)
    assert label_png(values, classes).getvalue() == path.read_bytes()  # the same map is the same file


def test_eight_bits_do_for_a_wide_set_too(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / 'a.png')
    assert read_label_png(tmp_path / 'a.png', 301).tolist() == [[0, 255]]  # a class there


def test_what_is_wrong_is_told(tmp_path):
    path = tmp_path / 'a.png'
    with pytest.raises(ValueError, match=r'a\.png: the mask is missing'):
        read_label_png(path, 21)
    path.write_bytes(label_png(np.array([[300]]), 301).getvalue())
    with pytest.raises(ValueError, match='value 300 is neither in 0–20 nor 255'):
        read_label_png(path, 21)
    with pytest.raises(ValueError, match='value 300 is neither in 0–299 nor 65535'):
        read_label_png(path, 300)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match='the mask cannot be decoded; replace the file'):
        read_label_png(path, 21)
    Image.new('RGB', (2, 2)).save(path)
    with pytest.raises(ValueError, match='found an image of mode RGB'):
        read_label_png(path, 21)
