# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Each way of looking gets a column with its own map, name and score."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from mmentropy.apis import Localization, Localizer
from mmentropy.apis.side_by_side import compare_methods, deletion_and_insertion, side_by_side
from mmentropy.visualization.panels import PRED_COLOR


def look(corner: int):
    """A map that is high in one corner of a 4×4 grid."""
    cam = np.zeros((1, 4, 4), np.float32)
    cam[0, corner, corner] = 1

    def localize(image: np.ndarray) -> Localization:
        return Localization('', image.shape[:2], np.array([1]), ('dog',), np.array([0.5]), cam)

    return localize


def reds(picture: np.ndarray) -> np.ndarray:
    """(x, y) of the pixels of a box that was read."""
    y, x = np.nonzero((picture == PRED_COLOR).all(2))
    return np.stack([x, y], 1)


def test_every_column_has_its_own_box(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((40, 40, 3), np.uint8))
    looks = {'first': look(0), 'last': look(3)}
    picture = side_by_side(tmp_path / 'a.png', looks, tile=80, threshold=0.5)
    red = reds(picture)
    # Three tiles of 80 pixels with gaps of 4: the image, then the columns.
    first, last = red[red[:, 0] < 168], red[red[:, 0] >= 168]
    assert first[:, 0].min() == 84
    assert first[:, 0].max() < 84 + 40
    assert last[:, 0].max() == 247
    assert last[:, 0].min() >= 168 + 40
    assert last[:, 1].min() > first[:, 1].max()
    two = side_by_side([tmp_path / 'a.png', np.zeros((40, 40, 3), np.uint8)], looks, tile=80)
    assert two.shape[0] > picture.shape[0] + 80


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / 'a.png').write_text('no image')
    with pytest.raises(ValueError, match=r'a\.png'):
        side_by_side(tmp_path / 'a.png', {'cam': look(0)})


class FirstPixels(nn.Module):
    """The logit of class 0 is how bright the left half of the top row is; that of class 1 is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc = nn.Conv2d(3, 2, 4, 4), nn.Linear(2, 2)

    def forward(self, x):
        self.fc(self.body(x).mean((2, 3)))  # as a classifier looks, for whoever asks for its layers
        score = 9 * x[:, 0, 0, :4].mean(1)
        return torch.stack([score, 0 * score], 1)


def test_deletion_and_insertion_of_a_network_that_reads_some_pixels():
    """A map that ranks what is read first loses the score at once, and gains it at once; one that ranks it last does
    neither: by its curves, 9·(share of the read pixels that are there) through a sigmoid."""
    localizer = Localizer(FirstPixels(), input_size=8)
    image = np.full((8, 8, 3), 255, np.uint8)
    first, last = np.zeros((1, 8, 8), np.float32), np.ones((1, 8, 8), np.float32)
    first[0, 0, :4] = [4, 3, 2, 1]
    last[0, 0, :4] = 0
    early, late = (
        deletion_and_insertion(localizer, image, Localization('', (8, 8), np.array([0]), ('a',), np.ones(1), cam), 64)
        for cam in (first, last)
    )
    value = 9 * float(localizer.loaded.inputs([image])[0, 0, 0, 0])
    there = 1 / (1 + np.exp(-value * np.arange(5) / 4))
    scores = np.concatenate([there[::-1], np.full(60, there[0])])
    assert early[0] == pytest.approx(np.trapezoid(scores, dx=1 / 64), abs=1e-5)
    assert early[0] < 0.6 < late[0]
    nothing = Localization('', (8, 8), np.array([0]), ('a',), np.ones(1), np.ones((1, 2, 2), np.float32))
    assert np.isnan(deletion_and_insertion(localizer, image, nothing)).all()


def test_methods_are_compared_with_their_figures(tmp_path, monkeypatch):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    localizer = Localizer(nn.Sequential(*layers), input_size=32)
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    said = []
    from mmentropy.visualization import panels

    plain = panels.add_caption
    monkeypatch.setattr(panels, 'add_caption', lambda tile, text, *a: said.append(text) or plain(tile, text, *a))
    picture = compare_methods(localizer, image, ['cam', 'random'], tile=64, classes=3)
    assert picture.shape[1] == 3 * 64 + 2 * 4
    assert said[1:3] == ['cam', 'random']
    for method, caption in zip(('cam', 'random'), said[-2:]):
        lost, gained = deletion_and_insertion(localizer, image, localizer(image, classes=3, method=method)[0])
        assert caption.endswith(f'· del {lost:.2f} ins {gained:.2f}')
