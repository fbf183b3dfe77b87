# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The command line, and the files that it writes, read back."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_classifier import CONFIG

from mmentropy.engine.model_loading import load_model
from mmentropy.safe_files import load_npz

ROOT = Path(__file__).parents[2]


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
    # With another grid, reading and threshold nothing of it is taken up.
    other = ['--grid', 'half_pixel', '--reading', 'certain', '--threshold', 'auto', '--write', 'maps']
    before = load_npz(tmp_path / 'out/maps/a.png.npz')
    assert here(monkeypatch, [*command[1:], *other]) == 0
    after = load_npz(tmp_path / 'out/maps/a.png.npz')
    # Location 0 looks at pixel 0 of the input, 96 wide and high; in the image that is half a pixel of it, less ½.
    np.testing.assert_allclose(before['grid'], [[48 / 96 / 2 - 0.5, 64 / 96 / 2 - 0.5], [48 / 3, 64 / 3], [48, 64]])
    assert 'grid' not in after
    assert str(after['threshold']) == 'auto'
    assert not np.allclose(before['maps'], after['maps'])
    assert here(monkeypatch, [*command[1:], '--reading', 'sure']) == 2
    assert here(monkeypatch, ['tools/localize.py', 'nothing.py', photos]) == 2
    said = capsys.readouterr().err
    assert 'reading must be one of protocol, relu, certain, certain+spread, ' in said
    assert 'nothing.py does not exist' in said
    assert 'Traceback' not in said


@pytest.fixture
def world(tmp_path) -> Path:
    """A config, weights of it, and photos of one name in two folders."""
    (tmp_path / 'c.py').write_text(CONFIG)
    save_weights(tmp_path, 0)
    rng = np.random.default_rng(0)
    for folder in ('left', 'right'):
        (tmp_path / folder).mkdir()
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(tmp_path / folder / '1.png')
    return tmp_path


def save_weights(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    torch.save(load_model(folder / 'c.py', device='cpu', random_weights=True).model.state_dict(), folder / 'w.pth')


def localize(monkeypatch, world: Path, *images: Path, more: tuple = ()) -> int:
    command = ['tools/localize.py', world / 'c.py', *images, '--weights', world / 'w.pth', '--out-dir', world / 'out']
    return here(monkeypatch, [*command, '--input-size', 64, '--device', 'cpu', '--classes', 0, *more])


def maps_of(world: Path) -> dict[str, np.ndarray]:
    root = world / 'out/maps'
    return {str(path.relative_to(root)): load_npz(path)['maps'] for path in sorted(root.rglob('*.npz'))}


def test_maps_of_other_weights_or_another_image_are_made_again(world, monkeypatch):
    """Under the same names; what has not changed is left alone."""
    photos = [world / 'left', world / 'right']
    assert localize(monkeypatch, world, *photos) == 0
    first = maps_of(world)
    assert list(first) == ['left/1.png.npz', 'right/1.png.npz']  # both, by their folders
    assert not np.allclose(*first.values())
    save_weights(world, 1)
    assert localize(monkeypatch, world, *photos) == 0
    second = maps_of(world)
    assert not any(np.allclose(first[name], second[name]) for name in first)
    old = (world / 'out/maps/right/1.png.npz').stat().st_mtime_ns
    stamp = (world / 'left/1.png').stat()
    Image.fromarray(np.full((48, 64, 3), 200, np.uint8)).save(world / 'left/1.png')
    os.utime(world / 'left/1.png', ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert localize(monkeypatch, world, *photos) == 0
    third = maps_of(world)
    assert not np.allclose(second['left/1.png.npz'], third['left/1.png.npz'])
    assert (world / 'out/maps/right/1.png.npz').stat().st_mtime_ns == old


def test_what_an_earlier_run_was_not_asked_for_is_written(world, monkeypatch):
    assert localize(monkeypatch, world, world / 'left', more=('--write', 'maps')) == 0
    assert localize(monkeypatch, world, world / 'left', more=('--write', 'maps', 'masks')) == 0
    assert [path.name for path in (world / 'out/masks').iterdir()] == ['1.png.0.png']


def test_one_odd_name_does_not_stop_the_folder(world, monkeypatch, capsys):
    """A name that is no UTF-8 is localised; one of 252 bytes leaves no room for .0.jpg and is refused, alone."""
    odd, long = os.fsdecode(b'\xff.png'), 'x' * 248 + '.png'
    for name in (odd, long):
        shutil.copy(world / 'left/1.png', world / 'left' / name)
    assert localize(monkeypatch, world, world / 'left') == 1
    said = capsys.readouterr()
    assert f'{long}: its results cannot be written (File name too long)' in said.out + said.err
    assert '2 image(s)' in said.out
    assert set(maps_of(world)) == {'1.png.npz', f'{odd}.npz'}
    names = [image['file_name'] for image in json.loads((world / 'out/boxes.json').read_text())['images']]
    assert sorted(names) == ['1.png', odd]


def test_methods_side_by_side_and_a_difference_of_classes(tmp_path, monkeypatch, capsys):
    pytest.importorskip('mmpretrain', reason='mmpretrain is not installed')
    (tmp_path / 'c.py').write_text(CONFIG)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(tmp_path / 'a.png')
    command = ['tools/localize.py', tmp_path / 'c.py', tmp_path / 'a.png', '--out-dir', tmp_path / 'out']
    command += ['--input-size', '64', '--device', 'cpu', '--random-weights', '--classes', '1']
    monkeypatch.setattr(sys, 'argv', [*map(str, command), '--compare', 'cam', 'grad_cam', 'center'])
    runpy.run_path(str(ROOT / command[0]), run_name='__main__')
    assert '1 picture(s) of 3 methods' in capsys.readouterr().out
    with Image.open(tmp_path / 'out/compare/a.png.jpg') as picture:
        assert picture.width == 4 * 320 + 3 * 4
    torch.manual_seed(0)
    assert here(monkeypatch, [*command, '--against', '0', '2', '--method', 'cam', '--write', 'maps']) == 0
    less = load_npz(tmp_path / 'out/maps/a.png.npz')
    assert less['class_names'].tolist() == ['1 - 0/2']
    torch.manual_seed(0)
    assert here(monkeypatch, [*command[:-1], 'all', '--write', 'maps', '--again']) == 0
    maps = load_npz(tmp_path / 'out/maps/a.png.npz')['maps']
    np.testing.assert_allclose(less['maps'][0], maps[1] - (maps[0] + maps[2]) / 2, atol=1e-5)
    assert here(monkeypatch, [*command, '--region', '1', '2', 'x', '4']) == 2
    assert here(monkeypatch, [*command, '--score-function', 'loss']) == 2
    said = capsys.readouterr().err
    assert '--region is predicted, all, or four numbers x0 y0 x1 y1, got 1 2 x 4' in said
    assert 'score_function must be one of logit' in said
