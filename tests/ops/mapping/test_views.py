# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Views of an image, and where their maps lie in it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.views import View, view_size, views_of

SIZE = (48, 80)


def test_every_scale_plain_and_mirrored_the_image_itself_first():
    assert views_of((7, 10), (0.5, 1, 1.5), True) == [
        *(View((7, 10)), View((7, 10), True)),
        *(View((4, 5)), View((4, 5), True), View((10, 15)), View((10, 15), True)),
    ]
    assert views_of((3, 3), (0.01,)) == [View((1, 1))]
    for scales in ((), (1, 0), (-1,)):
        with pytest.raises(ValueError, match='scales must be positive'):
            views_of((7, 10), scales)
    assert view_size((96, 97)) == (24, 25)
    assert view_size((96, 97), 16) == (6, 7)


@pytest.mark.parametrize('scale', [0.5, 1, 1.5])
@pytest.mark.parametrize('mirrored', [False, True])
def test_a_ramp_of_columns_lies_where_the_image_has_it(scale, mirrored):
    """A map whose values are the columns of the image that its locations look at, by an off-centre grid, is that ramp
    again when it is drawn: between its first and its last location, to the last digits."""
    view = next(v for v in views_of(SIZE, (scale,), True) if v.mirrored == mirrored)
    height, width = view.size
    grid = MapGrid((0, 1), (4, 4), view.size)
    columns = grid.pixels((height // 4, width // 4))[1]  # in the view
    seen = (width - 1 - columns if mirrored else columns) + 0.5
    seen = seen * SIZE[1] / width - 0.5  # in the image
    maps = torch.tensor(seen, dtype=torch.float32).expand(2, height // 4, -1)
    drawn = view.drawn(maps, SIZE, grid)
    inside = np.arange(SIZE[1])
    inside = inside[(inside >= seen.min()) & (inside <= seen.max())]
    assert len(inside) > 60
    np.testing.assert_allclose(drawn[0, 20, inside], inside, atol=1e-4)
    assert torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize('interpolation', ['bilinear', 'cubic'])
def test_without_a_grid_drawing_and_mirroring_commute(interpolation):
    maps = torch.rand(3, 6, 10, generator=torch.Generator().manual_seed(0))
    drawn = View(SIZE, mirrored=True).drawn(maps, SIZE, interpolation=interpolation)
    flag = {'bilinear': cv2.INTER_LINEAR, 'cubic': cv2.INTER_CUBIC}[interpolation]
    for one, small in zip(drawn, maps):
        expected = cv2.resize(np.ascontiguousarray(small.numpy()[:, ::-1]), SIZE[::-1], interpolation=flag)
        np.testing.assert_allclose(one, expected, atol=1e-6)
