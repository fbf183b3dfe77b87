# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import numpy as np
import pytest

from mmentropy.ops.localizing.map_boxes import boxes_from_map, foreground_mask


def flood_boxes(mask: np.ndarray) -> list[tuple[int, list[int]]]:
    """Oracle: (pixels, box) of every 8-connected component by flood fill, in raster order."""
    todo, found = mask.copy(), []
    for y, x in zip(*np.nonzero(mask)):
        if not todo[y, x]:
            continue
        todo[y, x], stack, pixels = False, [(y, x)], []
        while stack:
            cy, cx = stack.pop()
            pixels.append((cy, cx))
            for ny in range(max(0, cy - 1), min(mask.shape[0], cy + 2)):
                for nx in range(max(0, cx - 1), min(mask.shape[1], cx + 2)):
                    if todo[ny, nx]:
                        todo[ny, nx] = False
                        stack.append((ny, nx))
        ys, xs = zip(*pixels)
        found.append((len(pixels), [min(xs), min(ys), max(xs) + 1, max(ys) + 1]))
    return found


@pytest.mark.parametrize('seed', range(8))
def test_boxes_equal_flood_fill(seed):
    cam = np.random.default_rng(seed).random((11, 17)) ** 3
    components = flood_boxes(cam > 0.2 * cam.max())
    expected = [box for _, box in sorted(components, key=lambda c: (-c[0], c[1][1], c[1][0]))]
    np.testing.assert_array_equal(boxes_from_map(cam, 0.2, 'all'), expected)
    np.testing.assert_array_equal(boxes_from_map(cam, 0.2), expected[:1])


def test_threshold_is_a_strict_share_of_the_maximum():
    cam = np.array([[0.0, 2.0, 10.0, 2.1]])
    assert foreground_mask(cam, 0.2).tolist() == [[False, False, True, True]]
    assert boxes_from_map(cam, 0.2).tolist() == [[2, 0, 4, 1]]


@pytest.mark.parametrize('value', [0.0, -3.0])
def test_nothing_positive_gives_no_box(value):
    assert boxes_from_map(np.full((4, 5), value), which='all').shape == (0, 4)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'cam': np.zeros((2, 3, 3))}, 'two axes'),
        ({'cam': np.zeros((3, 3)), 'threshold': 1.0}, 'share of the maximum'),
        ({'cam': np.zeros((3, 3)), 'which': 'biggest'}, "got 'biggest'"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        boxes_from_map(**arguments)
