# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Palette PNGs hold the indices themselves, in VOC's colours; small pictures hold few colours."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mmentropy.datasets.palette import few_colors_png, palette_png
from mmentropy.ops.masks import voc_palette


def test_indices_and_colours_come_back():
    values = np.array([[0, 1, 20], [255, 15, 7]])
    image = Image.open(palette_png(values))
    assert (image.mode, image.size) == ('P', (3, 2))
    np.testing.assert_array_equal(np.array(image), values)
    np.testing.assert_array_equal(np.array(image.convert('RGB')), voc_palette()[values])


def test_few_colours():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    found = np.array(Image.open(few_colors_png(picture, 8)).convert('RGB'))
    assert found.shape == picture.shape
    assert len(np.unique(found.reshape(-1, 3), axis=0)) <= 8
    flat = np.full((4, 5, 3), 90, np.uint8)
    np.testing.assert_array_equal(np.array(Image.open(few_colors_png(flat, 8)).convert('RGB')), flat)
