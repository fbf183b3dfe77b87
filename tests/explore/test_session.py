# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What is shown: maps against the localizer's own, uploads within their limits, a report without a network."""

from __future__ import annotations

import io
import math

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mmentropy.apis import Localizer
from mmentropy.apis.writing import ResultWriter
from mmentropy.explore import session as module
from mmentropy.explore.session import (
    MapFolderViews,
    ModelViews,
    Picture,
    ReportViews,
    ShownMap,
    pictures_of_files,
    shrunk_jpeg,
)
from mmentropy.visualization.report_data import ReportData, Sample


def small_localizer(seed: int = 0) -> Localizer:
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    localizer = Localizer(nn.Sequential(*layers), input_size=32)
    localizer.loaded.classes = ('ant', 'bee', 'cat', 'dog', '<b>elk</b>')
    return localizer


def picture(seed: int = 0) -> Picture:
    image = np.random.default_rng(seed).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    return Picture(f'{seed}.png', lambda: image, lambda: np.array([[0, 0, 30, 20]], np.float32), 2)


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new('RGB', (width, height)).save(buffer, 'PNG')
    return buffer.getvalue()


def test_a_view_is_what_the_localizer_finds():
    localizer, one = small_localizer(), picture()
    views = ModelViews({'a': localizer}, [one])
    view = views.view(0, 'a', 'cam', 'relu', 3)
    reader = Localizer(localizer.loaded.model, reading='relu', input_size=32)
    found = reader(one.read(), classes=[3])[0]
    np.testing.assert_array_equal(view.cam, (found.upsampled((149, 224))[0] * 255).round())
    assert (view.size, view.label, view.cam.shape) == ((40, 60), 3, (149, 224))
    np.testing.assert_allclose(view.truth, [[0, 0, 0.5, 0.5]])
    scores = localizer.loaded.scores(localizer.loaded.model(localizer.loaded.inputs([one.read()])))[0]
    assert view.best[0][:2] == (int(scores.argmax()), localizer.classes[int(scores.argmax())])
    assert [score for *_, score in view.best] == pytest.approx(sorted(scores.tolist(), reverse=True), abs=1e-5)
    assert view.entropy_top == pytest.approx(math.log(5))
    assert 0 < view.mean_entropy < math.log(5)
    assert views.view(0, 'a', 'cam', 'relu', 3) is view  # kept
    assert views.view(0, 'a', 'cam', 'relu').label == view.best[0][0]
    for wrong in ((1, 'a', 'cam', 'relu'), (0, 'b', 'cam', 'relu'), (0, 'a', 'magic', 'relu'), (0, 'a', 'cam', 'loud')):
        with pytest.raises(ValueError, match=r'there (is no view|are 1 pictures)'):
            views.view(*wrong)


def test_a_new_picture_costs_one_forward_pass(monkeypatch):
    """Whatever the reading: classes, map and entropy come from one; the first picture also finds layer and grid."""
    localizer = small_localizer()
    views = ModelViews({'a': localizer}, [picture(0), picture(1)])
    passes = []
    localizer.loaded.model.register_forward_hook(lambda *_: passes.append(1))
    for reading in module.READINGS:
        views.view(0, 'a', 'cam', reading)
        passes.clear()
        view = views.view(1, 'a', 'cam', reading)
        assert (len(passes), view.entropy is not None) == (1, True), reading


def test_entropy_is_that_of_the_locations():
    """By hand: a pixel's logits are the linear layer on its features; its map has 255 at log 5 nats."""
    localizer, one = small_localizer(), picture()
    for method in ('cam', 'grad_cam', 'entropy'):
        view = ModelViews({'a': localizer}, [one]).view(0, 'a', method, 'protocol')
        conv, relu, _, _, linear = localizer.loaded.model
        with torch.no_grad():
            features = relu(conv(localizer.loaded.inputs([one.read()])))[0].flatten(1).T
            probabilities = linear(features).softmax(1)
        entropy = -(probabilities * probabilities.log()).sum(1)
        assert view.mean_entropy == pytest.approx(float(entropy.mean()), abs=1e-5)
        assert view.entropy.min() / 255 * math.log(5) >= float(entropy.min()) - 0.01
    silent = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6), nn.ReLU())
    silent.append(nn.Linear(6, 5))  # two layers behind the map: no prediction at a location
    view = ModelViews({'a': Localizer(silent, input_size=32)}, [one]).view(0, 'a', 'grad_cam', 'protocol')
    assert view.entropy is None
    assert math.isnan(view.mean_entropy)


def test_iou_of_the_largest_component():
    cam = np.zeros((10, 10), np.uint8)
    cam[:5, :4], cam[8:, 8:] = 200, 255
    view = ShownMap((10, 10), 0, (), cam, truth=np.array([[0, 0, 0.5, 0.5]], np.float32))
    assert view.iou(0.5) == pytest.approx(20 / 25)
    assert view.iou(0.9) == pytest.approx(0)  # only the corner is left
    assert math.isnan(ShownMap((10, 10), 0, (), cam).iou(0.5))


def test_uploads_are_limited(monkeypatch):
    views = ModelViews({'a': small_localizer()}, [picture()])
    assert views.add(png(30, 20)) == 1
    assert views.pictures[1].read().shape == (20, 30, 3)
    with pytest.raises(ValueError, match='no image that can be read'):
        views.add(b'<script>')
    with pytest.raises(ValueError, match='20 MB, at most 20 are taken'):
        views.add(b'0' * (module.UPLOAD_BYTES + 1))
    monkeypatch.setattr(module, 'UPLOAD_PIXELS', 500)
    with pytest.raises(ValueError, match='30×20 pixels'):
        views.add(png(30, 20))
    monkeypatch.setattr(module, 'UPLOAD_PIXELS', 10**6)
    for _ in range(module.UPLOADS):
        views.add(png(4, 4))
    with pytest.raises(ValueError, match='not kept any more'):
        views.jpeg(1)
    assert views.jpeg(0)[:2] == b'\xff\xd8'  # what was there from the beginning stays


def test_large_pictures_are_sent_small():
    sent = cv2.imdecode(np.frombuffer(shrunk_jpeg(np.zeros((100, 3000, 3), np.uint8)), np.uint8), cv2.IMREAD_COLOR)
    assert sent.shape == (34, 1024, 3)


def test_a_report_needs_no_network():
    cam = np.zeros((4, 4), np.uint8)
    cam[0, 0] = 255
    thumb = shrunk_jpeg(np.zeros((32, 64, 3), np.uint8))
    samples = [
        Sample('a.jpg', 1, 0, 0.75, boxes=np.array([[0, 0, 0.25, 0.25]]), cam=cam, thumb=thumb),
        Sample('counted only', 0, 0),
    ]
    views = ReportViews(ReportData(samples, ('x', 'y'), {}, '', {}), 'run')
    assert [one.name for one in views.pictures] == ['a.jpg']
    view = views.view(0, 'run', 'as stored', 'as stored')
    assert (view.label, view.best, view.cam.shape) == (1, ((0, 'x', 0.75),), (112, 224))
    assert view.cam.max() == 255
    assert max(np.unravel_index(view.cam.argmax(), view.cam.shape)) < 224 / 4  # in the first location
    assert view.entropy is None
    with pytest.raises(ValueError, match='a report has no network'):
        views.add(b'')


def test_files_and_folders(tmp_path):
    (tmp_path / 'deep').mkdir()
    (tmp_path / 'deep/a.png').write_bytes(png(3, 2))
    (found,) = pictures_of_files([tmp_path])
    assert (found.name, found.path) == ('deep/a.png', str(tmp_path / 'deep/a.png'))
    assert found.read().shape == (2, 3, 3)
    with pytest.raises(FileNotFoundError):
        pictures_of_files([tmp_path / 'none'])


def test_maps_that_were_written_before(tmp_path):
    localizer, photos = small_localizer(), tmp_path / 'photos'
    photos.mkdir()
    (photos / 'a.png').write_bytes(png(60, 40))
    (photos / 'b.png').write_bytes(png(60, 40))
    found = localizer(photos / 'a.png', classes=[3, 1])[0]
    ResultWriter(tmp_path / 'out', ('maps',), localizer.classes).write(found, photos / 'a.png')
    views = MapFolderViews(tmp_path / 'out', pictures_of_files([photos]))
    assert [one.name for one in views.pictures] == ['a.png']
    view = views.view(0, '', '', '', 1)
    np.testing.assert_array_equal(view.cam, (found.upsampled((149, 224))[1] * 255).round())
    assert {label for label, _, _ in view.best} == {1, 3}
    assert view.best[0][2] >= view.best[1][2]
    assert views.view(0, '', '', '').label == view.best[0][0]
    with pytest.raises(ValueError, match=r'a\.png has no map of class 2; there are 3, 1'):
        views.view(0, '', '', '', 2)
    with pytest.raises(ValueError, match='has no map of these 2 images'):
        MapFolderViews(tmp_path, pictures_of_files([photos]))
