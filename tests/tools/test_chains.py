# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What one tool leaves, the next one takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from run_tool import run_tool
from small_classifier import CONFIG

from mmentropy.apis import Localizer

DEMO = 'configs/demo/resnet18_partshapes.py'
SMALL = [
    *('model.backbone.base_channels=8', 'model.backbone.stem_channels=8', 'train_cfg.max_epochs=2'),
    'train_dataloader.dataset.length=16',
    *(f'{split}_dataloader.dataset.length=10' for split in ('val', 'test')),
    *(f'{split}_dataloader.num_workers=0' for split in ('train', 'val', 'test')),
    *(f'{split}_dataloader.persistent_workers=False' for split in ('train', 'val', 'test')),
]


@pytest.fixture(scope='module')
def photos(tmp_path_factory) -> Path:
    """Eight photographs of four classes in folders, their metadata, and a classifier with its weights."""
    folder = tmp_path_factory.mktemp('photos')
    rng = np.random.default_rng(0)
    rows: dict[str, list[str]] = {name: [] for name in ('image_ids', 'class_labels', 'image_sizes', 'localization')}
    for i in range(8):
        name = f'class_{i % 4}/{i}.png'
        (folder / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 60, (48, 64, 3)) + rng.integers(0, 196, 3)  # colours far apart: several predictions
        cv2.imwrite(str(folder / 'images' / name), image.astype(np.uint8))
        rows['image_ids'].append(name)
        rows['class_labels'].append(f'{name},{i % 4}')
        rows['image_sizes'].append(f'{name},64,48')
        rows['localization'].append(f'{name},{4 * i},8,{4 * i + 30},40')
    (folder / 'meta').mkdir()
    for name, lines in rows.items():
        (folder / f'meta/{name}.txt').write_text('\n'.join(lines))
    (folder / 'c.py').write_text(CONFIG)
    torch.manual_seed(0)
    model = Localizer(folder / 'c.py', device='cpu', random_weights=True).loaded.model
    torch.nn.init.normal_(model.head.fc.weight, std=5)
    torch.save(model.state_dict(), folder / 'w.pth')
    return folder


def figures(folder: Path, maps: str, *options: str, code: int = 0) -> dict:
    done = run_tool(
        'eval_maps.py', str(folder / maps), '--metadata', str(folder / 'meta'), '--jobs', '1', *map(str, options)
    )
    assert done.code == code, done.err
    found = json.loads((folder / maps).with_suffix('.json').read_text()) if code == 0 else {}
    return {key: value for key, value in found.items() if '/' in key} or done.err


def localize(photos: Path, out: str, *options: str) -> None:
    command = [photos / 'c.py', photos / 'images', '--weights', photos / 'w.pth', '--out-dir', photos / out]
    done = run_tool(
        'localize.py', *map(str, command), '--write', 'maps', '--input-size', '64', '--device', 'cpu', *options
    )
    assert done.code == 0, done.err


def test_localize_then_eval_maps(photos):
    """The figures are those of the true classes' maps and the model's ranking, handed over by hand."""
    localize(photos, 'all', '--classes', 'all')
    found = figures(photos, 'all/maps')
    localizer = Localizer(photos / 'c.py', photos / 'w.pth', device='cpu', input_size=64)
    names = (photos / 'meta/image_ids.txt').read_text().split()
    rows = []
    for i, name in enumerate(names):
        (one,) = localizer(photos / 'images' / name, classes='all')
        path = photos / 'byhand' / f'{name}.npz'
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, cam=one.maps[i % 4], grid=one.grid.to_array())
        rows.append(','.join([name, *map(str, np.argsort(-one.scores, kind='stable').tolist())]))
    (photos / 'p.csv').write_text('\n'.join(rows))
    assert found == figures(photos, 'byhand', '--predictions', photos / 'p.csv')
    assert 'wsol/Top1-Loc' in found
    assert len({row.split(',')[1] for row in rows}) > 1  # more than one class is predicted


def test_maps_of_another_class_are_not_taken_for_the_images_own(photos):
    localize(photos, 'one', '--classes', '2')
    said = figures(photos, 'one/maps', code=1)
    assert 'there are maps of the classes [2] but not of its own, 0' in said
    assert '6 faults' in said


def test_maps_of_a_turned_photograph_do_not_meet_its_stored_boxes(photos, tmp_path):
    """A camera's tag turns the first photograph; its box is in stored pixels."""
    for name in ('images', 'meta', 'c.py', 'w.pth'):
        (shutil.copytree if (photos / name).is_dir() else shutil.copy)(photos / name, tmp_path / name)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(tmp_path / 'images/class_0/0.png') as image:
        image.load()
    image.save(tmp_path / 'images/class_0/0.png', exif=exif)
    localize(tmp_path, 'turned', '--classes', 'all')
    said = figures(tmp_path, 'turned/maps', code=1)
    assert 'class_0/0.png: the maps are of an image 64 high and 48 wide, its boxes and masks of one of 48 by 64' in said
    assert '--as-stored' in said
    localize(tmp_path, 'stored', '--classes', 'all', '--as-stored')
    localize(photos, 'untagged', '--classes', 'all')
    assert figures(tmp_path, 'stored/maps') == figures(photos, 'untagged/maps')


def test_compare_then_report_then_eval_maps(tmp_path):
    done = run_tool('analysis_tools/compare.py', DEMO, '--work-dir', str(tmp_path), '--cfg-options', *SMALL)
    assert done.code == 0, done.err
    run = tmp_path / 'resnet18_partshapes/seed0'
    check_a_run(run, 'val')
    done = run_tool('report.py', str(tmp_path))
    assert f'runs below it: {run}' in done.err


def test_train_then_report_then_eval_maps(tmp_path):
    run = tmp_path / 'run'
    done = run_tool('train.py', DEMO, '--work-dir', str(run), '--no-validate', '--cfg-options', *SMALL)
    assert done.code == 0, done.err
    check_a_run(run, 'val')


def check_a_run(run: Path, missing: str) -> None:
    """Report twice, which leaves the run's config alone, then evaluate maps on the data of that config."""
    config = run / 'resnet18_partshapes.py'
    before = config.read_text()
    for _ in range(2):
        done = run_tool('report.py', str(run), '--again')
        assert done.code == 0, done.err
        assert config.read_text() == before
    assert 'epoch_2.pth' in (run / 'report.html').read_text()
    maps = run / 'maps'
    maps.mkdir()
    for i in range(10):
        np.save(maps / f'{i}.npy', np.eye(8))
    done = run_tool('eval_maps.py', str(maps), '--config', str(config), '--jobs', '1')
    assert done.code == 0, done.err
    assert '10 images' in done.out
    for tool in (['eval_maps.py', str(maps), '--config'], ['browse_dataset.py']):
        done = run_tool(*tool, str(config), '--split', missing)
        assert done.code == 2
        assert f'error: {config} has no {missing}_dataloader; its splits are train, test' in done.err


@pytest.mark.parametrize(('tool', 'split'), [('train.py', 'train'), ('test.py', 'test')])
def test_a_config_without_the_data_that_a_tool_needs(tool, split, tmp_path):
    (tmp_path / 'c.py').write_text(CONFIG)
    (tmp_path / 'w.pth').touch()
    weights = [str(tmp_path / 'w.pth')] if tool == 'test.py' else []
    done = run_tool(tool, str(tmp_path / 'c.py'), *weights)
    assert done.code == 2
    assert f'has no {split}_dataloader; it has no data sets at all' in done.err


def test_panels_of_a_config_without_their_hook(tmp_path):
    (tmp_path / 'c.py').write_text(CONFIG + 'test_dataloader = dict(dataset=dict())')
    (tmp_path / 'w.pth').touch()
    done = run_tool('test.py', str(tmp_path / 'c.py'), str(tmp_path / 'w.pth'), '--show-dir', str(tmp_path))
    assert done.code == 2
    assert '--show and --show-dir need default_hooks.visualization' in done.err
