# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Concepts on images whose answer is known: rows, mining, maps, and the objects that they meet."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from mmentropy.engine.model_loading import LoadedModel
from mmentropy.experiments.analysis import FeatureReader
from mmentropy.experiments.concepts import (
    average_precision,
    discover_concepts,
    draw_best,
    fit_detector,
    read_concepts,
    unit,
)


@pytest.fixture(scope='module')
def reader() -> FeatureReader:
    """Its features are the colours, averaged over 4×4 cells."""
    conv = nn.Conv2d(3, 3, 4, 4, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.eye(3)[:, :, None, None].expand(3, 3, 4, 4) / 16)
    model = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    return FeatureReader(LoadedModel(model, size=(16, 16), mean=(0, 0, 0), std=(1, 1, 1)))


def write(path: Path, *rows: str) -> Path:
    path.write_text('\n'.join(rows) + '\n', encoding='utf-8')
    return path


def world(root: Path) -> Path:
    """Red in the upper left quarter is `fire`, green in the lower right `grass`; grey images have no concept."""
    rows = ['image,concepts,objects,split']
    for i in range(8):
        picture = np.full((16, 16, 3), 20 + i, np.uint8)
        words, objects = '', 'stone 8 0 16 8'
        if i % 4 == 0:
            picture[:8, :8] = (0, 0, 255)
            words, objects = 'fire; hot thing', 'camp fire 0 0 8 8; stone 8 0 16 8'
        elif i % 4 == 1:
            picture[8:, 8:] = (0, 255, 0)
            words = 'grass'
        cv2.imwrite(str(root / f'{i}.png'), picture)
        rows.append(f'{i}.png,{words},{objects},{"test" if i > 5 else ""}')
    return write(root / 'c.csv', *rows)


def test_a_concept_is_found_where_it_is(tmp_path, reader):
    rows = read_concepts(world(tmp_path), tmp_path)
    fire, hot, grass = discover_concepts(reader, rows)
    assert [fire.word, hot.word, grass.word] == ['fire', 'hot thing', 'grass']
    assert fire.precision == grass.precision == 100
    assert not fire.tested  # no test row has a concept
    cam = fire.best[0][1].maps[0]
    assert np.unravel_index(cam.argmax(), cam.shape) in {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert [row.path[-5:] for row, _ in fire.best] in (['0.png', '4.png'], ['4.png', '0.png'])
    (first, pattern), (second, _) = fire.objects
    assert (first, second) == ('camp fire', 'stone')
    assert pattern.frequency == 1
    assert pattern.share == pytest.approx(1)
    picture = draw_best(fire, tile=32)
    assert picture.shape[1] == 2 * 32 + 4
    with pytest.raises(ValueError, match="no training row has the concept 'water'; there are fire, hot thing, grass"):
        next(discover_concepts(reader, rows, ['water']))


def test_hard_negatives_are_mined():
    """A thousand easy negatives on one side, ten near the positives: few random ones know nothing of these."""
    rng = np.random.default_rng(0)
    near = unit(np.stack([np.cos(a := rng.uniform(0.25, 0.3, 10)), np.sin(a)], 1))
    far = unit(np.stack([np.cos(a := rng.uniform(2, 3, 1000)), np.sin(a)], 1))
    own = unit(np.stack([np.cos(a := rng.uniform(-0.1, 0.1, 10)), np.sin(a)], 1))
    features, positive = np.concatenate([own, near, far]), np.arange(1020) < 10
    plain, mined = (fit_detector(features, positive, c=1000.0, rounds=n) for n in (0, 5))
    assert plain.negatives == 10
    assert 10 < mined.negatives < 100
    assert average_precision(mined.scores(features), positive) == 100
    wrong = [(one.scores(features[10:]) > 0).sum() for one in (plain, mined)]
    assert wrong[0] == 10
    assert wrong[1] == 0


def test_average_precision_is_scikits():
    metrics = pytest.importorskip('sklearn.metrics')
    rng = np.random.default_rng(1)
    scores, positive = rng.normal(size=50), rng.random(50) < 0.3
    expected = metrics.average_precision_score(positive, scores)
    assert average_precision(scores, positive) == pytest.approx(100 * expected)


def test_what_is_wrong_with_a_csv(tmp_path):
    with pytest.raises(FileNotFoundError, match='does not exist; give a CSV'):
        read_concepts(tmp_path / 'no.csv')
    with pytest.raises(ValueError, match="there is no column 'concepts'"):
        read_concepts(write(tmp_path / 'a.csv', 'image,words', 'a.png,x'))
    with pytest.raises(ValueError, match=r'b\.csv:3: a row needs an image'):
        read_concepts(write(tmp_path / 'b.csv', 'image,concepts', 'a.png,x', ',x'))
    with pytest.raises(ValueError, match=r"c\.csv:2: an object is `name x0 y0 x1 y1`, found 'cat 1 2 3'"):
        read_concepts(write(tmp_path / 'c.csv', 'image,concepts,objects', 'a.png,x,cat 1 2 3'))
    with pytest.raises(ValueError, match='holds no row'):
        read_concepts(write(tmp_path / 'd.csv', 'image,concepts'))
    with pytest.raises(ValueError, match='with and without its concept, found 2 of 2'):
        fit_detector(np.eye(2), np.array([True, True]))
