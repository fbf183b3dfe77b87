# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Mask files of every convention in numbers; the palette of PASCAL VOC."""

from __future__ import annotations

import numpy as np
import pytest

from mmentropy.ops.masks import MASK_FORMATS, decode_mask, voc_palette

GREY = np.array([[0, 1, 127], [128, 254, 255]], np.uint8)
BLUE, NEARLY, VIOLET, BLACK, GREEN = (0, 0, 254), (70, 60, 180), (120, 0, 254), (0, 0, 0), (0, 200, 250)


@pytest.mark.parametrize(
    ('values', 'mask_format', 'mask', 'ignored'),
    [
        (GREY, 'nonzero', [[0, 1, 1], [1, 1, 1]], None),
        (np.array([[[0, 0, 0], [0, 9, 0]]], np.uint8), 'nonzero', [[0, 1]], None),  # any channel
        (GREY > 127, 'nonzero', [[0, 0, 0], [1, 1, 1]], None),
        (GREY, 'half', [[0, 0, 0], [1, 1, 1]], None),
        (np.array([[[128, 0, 0], [127, 255, 255]]], np.uint8), 'half', [[1, 0]], None),  # the first channel
        (np.array([[BLUE, NEARLY, VIOLET, BLACK, GREEN]], np.uint8), 'not_blue', [[0, 0, 1, 1, 1]], None),
        (np.array([[(*BLUE, 0)]], np.uint8), 'not_blue', [[0]], None),  # transparency says nothing
        (GREY, 'palette', [[0, 1, 1], [1, 1, 0]], [[0, 0, 0], [0, 0, 1]]),
    ],
)
def test_values(values, mask_format, mask, ignored):
    found, left_out = decode_mask(values, mask_format)
    assert found.dtype == np.uint8
    assert found.tolist() == mask
    assert (None if left_out is None else left_out.tolist()) == ignored


def test_the_default_takes_whatever_is_not_zero():
    assert decode_mask(GREY)[0].tolist() == [[0, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize(
    ('values', 'mask_format', 'message'),
    [
        (GREY, 'not_blue', r'a mask on blue needs three channels, found an array of shape \(2, 3\)'),
        (np.zeros((2, 2, 3)), 'palette', r'a palette mask needs one channel, found an array of shape \(2, 2, 3\)'),
        (GREY, 'red', r"mask_format must be one of \['half', 'nonzero', 'not_blue', 'palette'\], got 'red'"),
    ],
)
def test_what_does_not_fit_is_told(values, mask_format, message):
    with pytest.raises(ValueError, match=message):
        decode_mask(values, mask_format)


def test_every_format_is_tried_here():
    assert set(MASK_FORMATS) == {'nonzero', 'half', 'not_blue', 'palette'}


def test_palette_is_vocs() -> None:
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {index: tuple(voc_palette()[index].tolist()) for index in known} == known
    assert tuple(voc_palette()[255].tolist()) == (224, 224, 192)
