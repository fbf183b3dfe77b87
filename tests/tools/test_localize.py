# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The command line, and the files that it writes, read back."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from small_classifier import CONFIG

from mmentropy.apis.localizer import Localization
from mmentropy.apis.writing import ResultWriter

ROOT = Path(__file__).parents[2]


def test_files_hold_what_was_found(tmp_path):
    image = np.full((40, 60, 3), 80, np.uint8)
    cams = np.zeros((2, 4, 6), np.float32)
    cams[0, 1:3, 2:5] = 1
    cams[1, 0, 0] = 2
    boxes = [np.array([[20, 10, 50, 30]], np.float32), np.zeros((0, 4), np.float32)]
    found = Localization('sub/x.jpg', (40, 60), np.array([3, 1]), ('ß "d"', 'b'), np.float32([0.7, 0.2]), cams, boxes)
    writer = ResultWriter(tmp_path, settings='one')
    assert writer.done('sub/x.jpg') is None
    writer.write(found, image)
    writer.add(found)
    writer.close()
    back = writer.done('sub/x.jpg')
    np.testing.assert_array_equal(back.maps, cams)
    np.testing.assert_array_equal(back.boxes[0], boxes[0])
    assert back.boxes[1].shape == (0, 4)
    assert (back.class_names, back.size, back.labels.tolist()) == (('ß "d"', 'b'), (40, 60), [3, 1])
    assert ResultWriter(tmp_path, settings='two').done('sub/x.jpg') is None
    coco = json.loads((tmp_path / 'boxes.json').read_text())
    assert coco['images'] == [{'id': 1, 'file_name': 'sub/x.jpg', 'width': 60, 'height': 40}]
    assert coco['annotations'] == [
        {'id': 1, 'image_id': 1, 'category_id': 3, 'bbox': [20, 10, 30, 20], 'area': 600, 'score': 0.7, 'iscrowd': 0}
    ]
    assert coco['categories'] == [{'id': 1, 'name': 'b'}, {'id': 3, 'name': 'ß "d"'}]
    mask = cv2.imread(str(tmp_path / 'masks/sub/x.jpg.3.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask > 0, found.masks[0])
    assert cv2.imread(str(tmp_path / 'overlays/sub/x.jpg.1.jpg')).shape == (60, 60, 3)
    assert not list(tmp_path.rglob('*.part'))
    with pytest.raises(ValueError, match='unknown kind'):
        ResultWriter(tmp_path, ('pictures',))


def here(monkeypatch, command: list) -> int:
    """Run a tool in this process; its exit status."""
    monkeypatch.setattr(sys, 'argv', [*map(str, command)])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(ROOT / command[0]), run_name='__main__')
    return done.value.code


def test_command_line_does_the_folder_resumes_and_names_what_it_refuses(tmp_path, monkeypatch, capsys):
    pytest.importorskip('mmpretrain', reason='mmpretrain is not installed')
    (tmp_path / 'c.py').write_text(CONFIG)
    photos = tmp_path / 'photos'
    photos.mkdir()
    rng = np.random.default_rng(0)
    for name in ('a.png', 'b.png'):
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(photos / name)
    (photos / 'zero.jpg').touch()
    command = [sys.executable, 'tools/localize.py', tmp_path / 'c.py', photos, '--out-dir', tmp_path / 'out']
    command += [
        '--classes',
        '2',
        '0',
        '--input-size',
        '96',
        '--method',
        'grad_cam',
        '--device',
        'cpu',
        '--random-weights',
    ]
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert 'zero.jpg: the file is empty (0 bytes)' in done.stderr
    assert '2 image(s)' in done.stdout
    assert '1 refused' in done.stdout
    written = sorted(str(p.relative_to(tmp_path / 'out')) for p in (tmp_path / 'out').rglob('*') if p.is_file())
    expected = ['boxes.json', *(f'maps/{n}.png.npz' for n in 'ab')]
    expected += [f'masks/{n}.png.{k}.png' for n in 'ab' for k in (0, 2)]
    expected += [f'overlays/{n}.png.{k}.jpg' for n in 'ab' for k in (0, 2)]
    assert written == sorted(expected)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / 'out/maps').iterdir()}
    first = json.loads((tmp_path / 'out/boxes.json').read_text())
    (photos / 'zero.jpg').unlink()
    # The second run, and one with a wrong name, in this process: starting one costs more than the work.
    assert here(monkeypatch, command[1:]) == 0
    assert times == {p: p.stat().st_mtime_ns for p in (tmp_path / 'out/maps').iterdir()}
    assert json.loads((tmp_path / 'out/boxes.json').read_text()) == first
    assert here(monkeypatch, ['tools/localize.py', 'nothing.py', photos]) == 2
    said = capsys.readouterr().err
    assert 'nothing.py: no such config file' in said
    assert 'Traceback' not in said
