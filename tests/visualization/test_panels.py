# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import numpy as np
import pytest

from mmentropy.ops.localizing.map_boxes import boxes_from_map
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.overlay import blend_map, colorize_map
from mmentropy.ops.mapping.scaling import draw_maps, upsample_map
from mmentropy.visualization.panels import (
    GT_COLOR,
    PRED_COLOR,
    ComparisonRow,
    add_caption,
    draw_boxes,
    draw_comparison_grid,
    draw_layers,
    draw_localization_panel,
    draw_triptych,
    join_tiles,
    mark,
    scale_boxes,
)

GRAY = np.full((64, 64, 3), 128, np.uint8)


def blob(size: int = 8) -> np.ndarray:
    cam = np.zeros((size, size), np.float32)
    cam[2:5, 3:7] = 1
    return cam


def test_box_outline_is_on_the_outermost_pixels_of_the_box():
    drawn = draw_boxes(GRAY, np.array([[10, 20, 40, 50]]), GT_COLOR, thickness=1)
    ys, xs = np.nonzero((drawn == GT_COLOR).all(axis=2))
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (10, 20, 40, 50)
    assert (GRAY == 128).all()


def test_scale_boxes_moves_each_axis_by_its_own_factor():
    np.testing.assert_allclose(scale_boxes([[1, 2, 3, 4]], (10, 20), (30, 40)), [[2, 6, 6, 12]])


def test_panel_holds_image_overlay_and_entropy_side_by_side():
    cam = blob()
    entropy = np.linspace(0, 1, 64).reshape(8, 8)
    panel = draw_localization_panel(GRAY, cam, entropy, gt_bboxes=[[8, 8, 40, 40]], tile=64)
    assert panel.shape == (84, 64 * 3 + 8, 3)
    up = upsample_map(cam, (64, 64))
    box = boxes_from_map(up)
    expected = draw_boxes(draw_boxes(GRAY, [[8, 8, 40, 40]], GT_COLOR), box, PRED_COLOR)
    np.testing.assert_array_equal(panel[20:, :64], expected)
    np.testing.assert_array_equal(panel[20:, 68:132], draw_boxes(blend_map(GRAY, up), box))
    np.testing.assert_array_equal(panel[20:, 136:], colorize_map(upsample_map(entropy, (64, 64)), 'viridis'))


def test_panel_without_maps_is_the_image_alone():
    panel = draw_localization_panel(GRAY[..., 0], tile=32)
    assert panel.shape == (52, 32, 3)
    assert (panel[20:] == 128).all()


def test_grid_has_a_row_an_image_and_a_column_a_model():
    rows = [
        ComparisonRow(GRAY, {'a': blob(), 'b': blob(4)}, [[0, 0, 30, 30]], 'first'),
        ComparisonRow(GRAY[:, :32], {'b': blob()}, None, 'portrait'),
    ]
    grid = draw_comparison_grid(rows, tile=64)
    assert grid.shape == (24 + 2 * (4 + 20 + 64), 3 * 64 + 2 * 4, 3)
    up = upsample_map(blob(), (64, 64))
    cell = draw_boxes(draw_boxes(blend_map(GRAY, up), [[0, 0, 30, 30]], GT_COLOR), boxes_from_map(up))
    np.testing.assert_array_equal(grid[48:112, 68:132], cell)
    # The second row's map 'b' fills the middle half of its tile; column 'a' is an empty grey tile there.
    up = upsample_map(blob(), (64, 32))
    cell = draw_boxes(blend_map(GRAY[:, :32], up), boxes_from_map(up))
    np.testing.assert_array_equal(grid[136:, 136 + 16 : 136 + 48], cell)
    assert (grid[136:, 68 + 16 : 68 + 48] == 240).all()
    with pytest.raises(ValueError, match='no rows'):
        draw_comparison_grid([])


def test_boxes_of_panels_and_grids_by_the_maximum():
    """On a ground of −1 a share of the maximum gives another box than one of the range."""
    cam = 2 * blob() - 1
    up = upsample_map(cam, (64, 64), normalize='max')
    box = boxes_from_map(up)
    assert not np.array_equal(box, boxes_from_map(upsample_map(cam, (64, 64))))
    grid = draw_comparison_grid([ComparisonRow(GRAY, {'a': cam})], tile=64, normalize='max')
    plain = draw_comparison_grid([ComparisonRow(GRAY, {'a': cam})], tile=64)
    drawn = draw_boxes(blend_map(GRAY, up), box)
    np.testing.assert_array_equal(grid[-64:, -64:], drawn)
    assert not np.array_equal(plain[-64:, -64:], drawn)
    panel = draw_localization_panel(GRAY, cam, tile=64, normalize='max')
    np.testing.assert_array_equal(panel[-64:, -64:], drawn)


def test_long_and_foreign_captions_stay_inside_the_tile():
    tile = np.zeros((4, 60, 3), np.uint8)
    assert add_caption(tile, 'Größenwahnsinnige Eichelhäher\nüberall ' * 3).shape == (24, 60, 3)
    assert (add_caption(tile, 'ß')[:20] < 128).any()
    # A glyph that the font has not is a box for every code point; ß is a letter of its own.
    assert (add_caption(tile, 'ß') != add_caption(tile, '\U0010ffff')).any()


def test_join_pads_with_white():
    joined = join_tiles([np.zeros((2, 3, 3), np.uint8), np.zeros((4, 3, 3), np.uint8)], gap=1)
    assert joined.shape == (4, 7, 3)
    assert (joined[2:, :4] == 255).all()
    assert (joined[:, 4:] == 0).all()


@pytest.mark.parametrize(
    ('read', 'true', 'text'),
    [
        ([[0, 0, 10, 10]], [[0, 0, 10, 10]], '✓ 1.00'),
        ([[0, 0, 10, 10]], [[0, 0, 10, 5]], '✓ 0.50'),
        ([[0, 0, 10, 10]], [[5, 0, 15, 10]], '✗ 0.33'),
        ([[0, 0, 10, 10], [20, 0, 30, 10]], [[50, 0, 60, 10], [20, 0, 30, 8]], '✓ 0.80'),
        (np.zeros((0, 4)), [[0, 0, 10, 10]], '✗ 0.00'),
    ],
)
def test_mark_says_whether_half_of_the_union_is_shared(read, true, text):
    assert mark(np.array(read, float), np.array(true, float)) == text


def test_marks_add_a_legend_in_the_colours_of_the_boxes():
    cam = np.zeros((4, 4), np.float32)
    cam[1:3, 1:3] = 1
    rows = [ComparisonRow(GRAY, {'a': cam}, np.array([[0, 0, 4, 4]]))]
    plain, marked = draw_comparison_grid(rows, tile=200), draw_comparison_grid(rows, tile=200, marks=True)
    legend = marked[len(plain) :]
    assert len(legend) == 26  # 22 and the gap
    for color in (GT_COLOR, PRED_COLOR):
        assert (legend == color).all(axis=-1).sum() > 50


def test_each_column_may_have_its_own_cut():
    cam = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    rows = [ComparisonRow(GRAY, {'a': cam, 'b': cam})]
    grid = draw_comparison_grid(rows, tile=64, threshold={'a': 0.25, 'b': 0.75})
    red = (grid == PRED_COLOR).all(axis=-1)
    tops = [int(np.flatnonzero(red[:, x : x + 64].any(axis=1))[0]) for x in (68, 136)]
    assert tops[1] - tops[0] == 32  # half of the rows more lie above the lower cut


def test_maps_are_drawn_in_their_place():
    """As maps that were drawn before, at the size of the tile."""
    grid, cam, entropy = MapGrid((0, 3), (16, 16), (128, 128)), blob(), np.linspace(0, 1, 64).reshape(8, 8)
    cam_there, entropy_there = draw_maps(cam, (64, 64), grid), draw_maps(entropy, (64, 64), grid)
    panel = draw_localization_panel(GRAY, cam, entropy, tile=64, grid=grid)
    expected = draw_localization_panel(GRAY, cam_there, entropy_there, tile=64)
    np.testing.assert_array_equal(panel[20:], expected[20:])
    assert not np.array_equal(panel, draw_localization_panel(GRAY, cam, entropy, tile=64))
    rows = [ComparisonRow(GRAY, {'a': cam, 'b': cam}, grids={'a': grid})]
    before = [ComparisonRow(GRAY, {'a': cam_there, 'b': cam})]
    np.testing.assert_array_equal(draw_comparison_grid(rows, tile=64), draw_comparison_grid(before, tile=64))


def test_triptych_has_the_papers_tiles_and_colours():
    """Image with boxes, the bare map, both; the prediction green and the truth red."""
    image, cam = np.full((32, 32, 3), 90, np.uint8), np.zeros((4, 4))
    cam[:2, :2] = 1
    picture = draw_triptych(image, cam, np.array([[4.0, 4.0, 30.0, 30.0]]), np.array([[0, 0, 16, 16]]), tile=32)
    left, bare, both = (picture[20:, i * 36 : i * 36 + 32] for i in range(3))
    for tile in (left, both):
        assert tuple(tile[0, 5]) == (60, 220, 90)
        assert tuple(tile[29, 20]) == (235, 60, 60)
    assert np.array_equal(bare, colorize_map(upsample_map(cam, (32, 32))))
    read = draw_triptych(image, cam, tile=32)[20:, :32]
    expected = boxes_from_map(upsample_map(cam, (32, 32)), 0.15)
    assert np.array_equal(read, draw_boxes(image, expected, GT_COLOR))


def test_layers_are_tiles_in_their_order():
    image = np.full((16, 16, 3), 90, np.uint8)
    layers = {f'layer{i}': np.eye(2 + i) for i in range(3)}
    picture = draw_layers(image, layers, tile=16, columns=2)
    assert picture.shape == (2 * 36 + 4, 2 * 16 + 4, 3)
    assert np.array_equal(picture[20:36, :16], image)
    third = draw_layers(image, {'x': layers['layer2']}, tile=16)[20:, 20:]
    assert np.array_equal(picture[60:, 20:], third)
