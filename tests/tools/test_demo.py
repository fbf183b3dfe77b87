# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The demo on a photograph, and `explain`: with a network that a test can afford."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def run(monkeypatch, name: str, *words: object) -> int:
    monkeypatch.setattr(sys, 'argv', [name, *map(str, words)])
    try:
        runpy.run_path(str(TOOLS / name), run_name='__main__')
    except SystemExit as stop:
        return stop.code or 0
    return 0


@pytest.fixture
def photo(tmp_path) -> Path:
    cv2.imwrite(str(tmp_path / 'photo.jpg'), np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    return tmp_path / 'photo.jpg'


def test_a_photograph_is_read_both_ways(monkeypatch, tmp_path, photo, capsys):
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / 'weights.pth')
    words = ['--network', 'squeezenet1_1', '--weights', tmp_path / 'weights.pth', '--work-dir', tmp_path]
    assert run(monkeypatch, 'demo.py', '--image', photo, *words) == 0
    picture = cv2.imread(str(tmp_path / 'photo_maps.jpg'))
    assert f'maps side by side: {tmp_path / "photo_maps.jpg"}' in capsys.readouterr().out
    assert picture.shape[1] == 3 * 320 + 2 * 4


def test_without_weights_one_sentence_says_what_is_needed(monkeypatch, tmp_path, photo, capsys):
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError('no route to host')

    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr('torch.hub.download_url_to_file', offline)
    assert run(monkeypatch, 'demo.py', '--image', photo, '--work-dir', tmp_path) == 2
    said = capsys.readouterr().err
    assert 'could not be downloaded (no route to host)' in said
    assert '--weights FILE' in said
    for name, told in (('resnet5', 'did you mean resnet50 or '), ('resnet10t', 'is a network of timm: give the file')):
        assert run(monkeypatch, 'demo.py', '--image', photo, '--work-dir', tmp_path, '--network', name) == 2
        assert told in capsys.readouterr().err


def test_explain_has_a_column_a_method(monkeypatch, tmp_path, photo, capsys):
    config = TOOLS.parent / 'configs/demo/resnet18_partshapes.py'
    out = tmp_path / 'out.png'
    words = ['--random-weights', '--methods', 'cam', 'entropy', '--tile', 100, '--out', out, '--class', 3]
    assert run(monkeypatch, 'explain.py', config, photo, *words) == 0
    assert cv2.imread(str(out)).shape[1] == 3 * 100 + 2 * 4
    assert run(monkeypatch, 'explain.py', config, photo, '--random-weights', '--methods', 'magic') == 2
    assert 'method must be one of cam, entropy' in capsys.readouterr().err
