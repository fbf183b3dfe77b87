# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from mmentropy.ops.mapping.overlay import blend_map, colorize_map


@pytest.mark.parametrize('name', ['viridis', 'magma', 'inferno', 'turbo'])
def test_colours_are_matplotlibs_in_rgb(name):
    values = np.linspace(0, 1, 256, dtype=np.float32)[None]
    expected = matplotlib.colormaps[name](values, bytes=True)[..., :3].astype(int)
    assert np.abs(colorize_map(values, name).astype(int) - expected).max() <= 2


def test_blend_by_hand():
    image = np.full((1, 2, 3), 100, np.uint8)
    cam = np.array([[0.0, 1.0]])
    colours = colorize_map(cam).astype(float)
    np.testing.assert_array_equal(blend_map(image, cam, alpha=0), image)
    np.testing.assert_array_equal(blend_map(image, cam, alpha=1), colours)
    np.testing.assert_array_equal(blend_map(image, cam, 0.25), np.round(75 + 0.25 * colours))


def test_refusals():
    with pytest.raises(ValueError, match='up-sample'):
        blend_map(np.zeros((4, 4, 3), np.uint8), np.zeros((2, 2)))
    with pytest.raises(ValueError, match='alpha'):
        blend_map(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2)), alpha=2)
    with pytest.raises(ValueError, match='colormap'):
        colorize_map(np.zeros((2, 2)), 'rainbow')
