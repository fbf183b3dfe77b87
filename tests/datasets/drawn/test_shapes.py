# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Drawn scenes are the same everywhere, and what their docstrings say is true of their pixels."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import dataset_worlds as worlds
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmentropy.datasets.drawn.shapes import (
    GLYPHS,
    ONE,
    Draws,
    draw_scene,
    fill_polygon,
    hue_color,
    mask_box,
    pattern,
)


def digest(**options) -> str:
    """A checksum over images and ground truth of the first 20 scenes."""
    total = hashlib.sha256()
    for index in range(20):
        scene = draw_scene(0, 0, index, **options)
        for array in (scene.image, scene.instances, scene.parts, scene.boxes.astype('<i8')):
            total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


def philox(counter: int, key: tuple[int, int]) -> list[int]:
    """Philox-4x64-10 (Salmon et al., SC 2011) of a counter, ten rounds in plain integers."""
    mask, x = (1 << 64) - 1, [counter, 0, 0, 0]
    k0, k1 = key
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * x[0], 0xCA5A826395121157 * x[2]
        x = [(b >> 64) ^ x[1] ^ k0, b & mask, (a >> 64) ^ x[3] ^ k1, a & mask]
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & mask, (k1 + 0xBB67AE8584CAA73B) & mask
    return x


class TestStream:
    # Any change here changes every result on PartShapes: say so in the changelog. These were the same under OpenCV 4.9
    # with numpy 1.26 and OpenCV 5.0 with numpy 2.4.
    @pytest.mark.parametrize(
        ('options', 'expected'),
        [
            ({}, 'd94c324744521d38'),
            (dict(num_objects=(1, 3), size=96, num_classes=20), 'f380e1cfd7ae4eeb'),
        ],
    )
    def test_checksum(self, options: dict, expected: str) -> None:
        assert digest(**options) == expected

    def test_philox_words(self) -> None:
        """Raw words follow the published Philox-4x64-10, key (seed, stream and index), done in integers."""
        draws = Draws(5, 1, 7, words=8)
        assert draws._words == philox(1, (5, (1 << 47) | 7)) + philox(2, (5, (1 << 47) | 7))

    def test_a_small_buffer_gives_the_same_stream(self) -> None:
        short, long = Draws(1, 2, 3, words=4), Draws(1, 2, 3, words=64)
        assert [short.integer(0, 1000) for _ in range(30)] == [long.integer(0, 1000) for _ in range(30)]


class TestGroundTruth:
    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**62), st.integers(0, 10**9), st.sampled_from([(64, (1, 1)), (96, (1, 3)), (48, (2, 2))]))
    def test_exact(self, seed: int, index: int, kind: tuple) -> None:
        size, objects = kind
        scene = draw_scene(seed, 0, index, size=size, num_objects=objects)
        assert 1 <= len(scene.labels) <= objects[1]
        assert scene.labels[0] == index % 10
        assert len(set(scene.labels)) == len(scene.labels)
        assert scene.image.shape == (size, size, 3)
        for i, box in enumerate(scene.boxes):
            rows, columns = np.nonzero(scene.instances == i + 1)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert not (scene.parts & (scene.instances == 0)).any()

    def test_part_is_a_tenth_to_a_quarter_of_its_object(self) -> None:
        for index in range(150):
            scene = draw_scene(3, 0, index)
            share = scene.parts.sum() / (scene.instances > 0).sum()
            assert 0.10 <= share <= 0.25

    def test_only_the_part_is_vivid(self) -> None:
        """The part's saturation exceeds the body's and the ground's by far: it is what a lazy classifier sees."""
        for index in range(30):
            scene = draw_scene(0, 0, index)
            image = scene.image.astype(int)
            saturation = (image.max(2) - image.min(2)) / np.maximum(image.max(2), 1)
            part, rest = scene.parts.astype(bool), scene.parts == 0
            assert saturation[part].mean() > 0.55 > 0.45 > saturation[rest].mean()

    def test_classes_share_sizes_and_places(self) -> None:
        """Area and centre do not tell classes apart: the class means agree within four standard errors."""
        rows = []
        for index in range(500):
            scene = draw_scene(0, 2, index)
            x0, y0, x1, y1 = scene.boxes[0]
            rows.append(((x1 - x0) * (y1 - y0), x0 + x1, y0 + y1))
        values, labels = np.array(rows, dtype=float), np.arange(500) % 10
        for label in range(10):
            own, rest = values[labels == label], values[labels != label]
            error = np.sqrt(own.var(0) / len(own) + rest.var(0) / len(rest))
            assert (np.abs(own.mean(0) - rest.mean(0)) < 4 * error).all()

    @pytest.mark.parametrize('probability', [0.0, 0.5, 1.0])
    def test_cooccurrence(self, probability: float) -> None:
        """The background is the class's own with p + (1 − p) / C; binomial bounds of four standard deviations."""
        count = 300
        own = sum(draw_scene(0, 0, i, cooccurrence=probability, size=32).background == i % 10 for i in range(count))
        expected = probability + (1 - probability) / 10
        assert abs(own / count - expected) <= 4 * np.sqrt(expected * (1 - expected) / count)


class TestDrawing:
    def test_hue_color_agrees_with_colorsys(self) -> None:
        from colorsys import hsv_to_rgb

        for hue in range(0, 1536, 97):
            for saturation, value in ((255, 255), (128, 200), (0, 77)):
                red, green, blue = hsv_to_rgb(hue / 1536, saturation / 255, value / 255)
                expected = np.array([blue, green, red]) * 255
                assert np.abs(np.array(hue_color(hue, saturation, value)) - expected).max() <= 2

    def test_glyphs_have_one_area(self) -> None:
        for glyph in GLYPHS:
            x, y = glyph[:, 0].astype(float), glyph[:, 1].astype(float)
            area = abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2
            assert area == pytest.approx(ONE**2, rel=0.01)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.integers(-40, 300), st.integers(-40, 300)), min_size=3, max_size=9))
    def test_fill_polygon_agrees_with_ray_casting(self, corners: list[tuple[int, int]]) -> None:
        """Even-odd rule with exact fractions, pixel by pixel; corners outside the image, self-crossings and all."""
        polygon = np.array(corners)
        expected = np.zeros((16, 16), dtype=np.uint8)
        for row in range(16):
            crossings = []
            for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1]):
                if (y0 <= 16 * row) != (y1 <= 16 * row):
                    crossings.append(x0 + Fraction((x1 - x0) * (16 * row - y0), y1 - y0))
            for column in range(16):
                expected[row, column] = sum(x <= 16 * column for x in crossings) % 2
        assert np.array_equal(fill_polygon(16, polygon), expected)

    def test_fill_polygon_square(self) -> None:
        square = np.array([[32, 48], [80, 48], [80, 112], [32, 112]])  # columns 2..4, rows 3..6
        assert np.array_equal(fill_polygon(8, square), worlds.rectangle(8, 8, 3, 7, 2, 5))

    def test_patterns_are_balanced_and_differ(self) -> None:
        found = {pattern(kind, 64, 64, 0, 0).tobytes() for kind in range(24)}
        assert len(found) == 24
        for kind in range(24):
            values = pattern(kind, 64, 64, 3, 5)
            assert set(np.unique(values)) == {-1, 1}
            assert abs(values.mean()) < 0.7

    def test_pattern_phase_moves_it(self) -> None:
        for kind in range(8):
            assert np.array_equal(pattern(kind, 20, 20, 5, 7)[:10, :10], pattern(kind, 30, 30, 0, 0)[7:17, 5:15])

    def test_mask_box(self) -> None:
        mask = np.zeros((5, 6), dtype=bool)
        assert mask_box(mask) is None
        mask[1:3, 4] = True
        assert mask_box(mask) == (4, 1, 5, 3)
