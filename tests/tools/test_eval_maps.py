# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The map tools from the command line: figures, faults, exit codes, thresholds, plots, our data sets."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.scaling import draw_maps

TESTS = Path(__file__).parents[1]
from run_tool import run_tool  # noqa: E402
from wsol_brute_force import iou_by_threshold  # noqa: E402

NUMBER = 40
GRID = np.arange(0, 1, 0.001)


@pytest.fixture
def world(tmp_path) -> Path:
    """Maps of blobs near the boxes, the metadata of boxes, and predictions of which three in four are right."""
    rng = np.random.default_rng(0)
    rows = {name: [] for name in ('image_ids', 'class_labels', 'image_sizes', 'localization', 'predictions')}
    y, x = np.mgrid[0:14, 0:14] / 13
    for i in range(NUMBER):
        width, height = rng.integers(60, 200, 2)
        x0, y0 = rng.uniform(0, 0.5, 2) * (width, height)
        x1, y1 = (x0 + width * rng.uniform(0.2, 0.5), y0 + height * rng.uniform(0.2, 0.5))
        box = [int(v) for v in (x0, y0, x1, y1)]
        name, label = f'class {i % 4}/photo_{i}.jpg', i % 4
        rows['image_ids'].append(name)
        rows['class_labels'].append(f'{name},{label}')
        rows['image_sizes'].append(f'{name},{width},{height}')
        rows['localization'].append(','.join([name, *map(str, box)]))
        rows['predictions'].append(f'{name},{label if i % 8 < 6 else 9}')
        far = ((x - (x0 + x1) / 2 / width) / 0.2) ** 2 + ((y - (y0 + y1) / 2 / height) / 0.2) ** 2
        path = tmp_path / 'maps' / f'{name}.npy'
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.exp(-far) + rng.normal(scale=0.1, size=far.shape))
    (tmp_path / 'meta').mkdir()
    for name, lines in rows.items():
        folder = tmp_path if name == 'predictions' else tmp_path / 'meta'
        (folder / f'{name}.{"csv" if name == "predictions" else "txt"}').write_text('\n'.join(lines))
    return tmp_path


def evaluate(world: Path, *options: str, tool: str = 'eval_maps.py', jobs: str = '2'):
    return run_tool(tool, str(world / 'maps'), '--metadata', str(world / 'meta'), '--jobs', jobs, *options)


def slow_accuracy(world: Path) -> np.ndarray:
    """(images, thresholds) best IoU by the protocol, written out."""
    ious = []
    sizes = (world / 'meta/image_sizes.txt').read_text().splitlines()
    boxes = (world / 'meta/localization.txt').read_text().splitlines()
    for size, box in zip(sizes, boxes):
        name, *numbers = box.split(',')
        width, height = (int(v) for v in size.split(',')[1:])
        cam = np.load(world / 'maps' / f'{name}.npy').astype(np.float32)
        cam = cv2.resize(cam, (224, 224), interpolation=cv2.INTER_CUBIC)
        cam = (cam - cam.min()) / (cam.max() - cam.min())
        truth = tuple(int(int(v) * 224 / n) for v, n in zip(numbers, (width, height) * 2))
        ious.append(iou_by_threshold(cam, [truth], GRID[::25]))
    return np.array(ious)


def test_figures_and_plot(world):
    done = evaluate(world, '--cam-interval', '0.025', '--predictions', str(world / 'predictions.csv'))
    assert done.code == 0, done.err
    figures = json.loads((world / 'maps.json').read_text())
    ious = slow_accuracy(world)
    right = np.array([i % 8 < 6 for i in range(NUMBER)])
    for delta in (30, 50, 70):
        assert figures[f'wsol/MaxBoxAcc@{delta}'] == pytest.approx(100 * (ious >= delta / 100).mean(0).max())
    assert figures['wsol/Top1-Loc'] == pytest.approx(100 * ((ious >= 0.5) & right[:, None]).mean(0).max())
    assert 10 < figures['wsol/Top1-Loc'] < figures['wsol/GT-known'] < 100
    assert 'wsol/Top5-Loc' not in figures
    assert (figures['images'], figures['faults']) == (NUMBER, [])
    assert f'MaxBoxAccV2                   {figures["wsol/MaxBoxAccV2"]:.3f}' in done.out
    assert cv2.imread(str(world / 'maps.png')).std() > 10
    assert sorted(p.name for p in world.iterdir()) == ['maps', 'maps.json', 'maps.png', 'meta', 'predictions.csv']


def test_boxes_are_counted_without_torch_and_the_hosts(world):
    """Each process that has loaded them takes 400 MB; the plot and the thresholds' rules need none of them either."""
    tool = TESTS.parent / 'tools/eval_maps.py'
    arguments = [str(tool), *f'{world}/maps --metadata {world}/meta --jobs 2 --threshold auto'.split()]
    code = (
        f'import runpy, sys\nsys.argv = {arguments!r}\n'
        'try:\n    runpy.run_path(sys.argv[0], run_name="__main__")\n'
        'except SystemExit as end:\n'
        '    print(end.code, [name for name in ("torch", "mmengine", "mmcv", "mmpretrain") if name in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == '0 []'
    assert (world / 'maps.png').is_file()


def test_faults_are_listed_and_the_rest_is_written(world):
    whole = evaluate(world, '--out', str(world / 'whole.json'))
    names = [f'class {i % 4}/photo_{i}.jpg' for i in range(NUMBER)]
    (world / 'maps' / f'{names[3]}.npy').unlink()
    np.save(world / 'maps' / f'{names[7]}.npy', np.full((4, 4), np.nan))
    np.save(world / 'maps' / f'{names[8]}.npy', np.zeros((2, 4, 4)))
    np.save(world / 'maps' / 'stranger.npy', np.zeros((4, 4)))
    bad = evaluate(world)
    assert (whole.code, bad.code) == (0, 1)
    for line in (
        '4 faults',
        f'{names[3]}: no map',
        'holds 16 NaN',
        'shape (2, 4, 4)',
        'stranger.npy: belongs to no id of the metadata',
    ):
        assert line in bad.err
    figures = json.loads((world / 'maps.json').read_text())
    assert figures['images'] == NUMBER - 3
    assert [fault[0] for fault in figures['faults'][:3]] == [names[3], names[7], names[8]]
    # the figures are those of the good images alone
    for i in (3, 7, 8):
        for name in ('image_ids', 'class_labels', 'image_sizes', 'localization'):
            path = world / f'meta/{name}.txt'
            path.write_text('\n'.join(row for row in path.read_text().split('\n') if not row.startswith(names[i])))
        (world / 'maps' / f'{names[i]}.npy').unlink(missing_ok=True)
    good = evaluate(world, '--allow-missing', '--out', str(world / 'good.json'))
    assert good.code == 0  # the stranger is still there
    expected = json.loads((world / 'good.json').read_text())
    assert {k: v for k, v in figures.items() if k.startswith('wsol')} == {
        k: v for k, v in expected.items() if k.startswith('wsol')
    }


def test_thresholds_travel(world):
    assert evaluate(world, '--out', str(world / 'val.json')).code == 0
    options = ('--threshold-from', str(world / 'val.json'), '--threshold', '0.9', '--out', str(world / 'test.json'))
    assert evaluate(world, *options, jobs='1').code == 0
    val, test = (json.loads((world / f'{name}.json').read_text()) for name in ('val', 'test'))
    assert test['wsol/BoxAccV2@transfer'] == test['wsol/MaxBoxAccV2'] == val['wsol/MaxBoxAccV2']
    assert test['wsol/BoxAccV2@fixed'] < test['wsol/MaxBoxAccV2']


def test_every_map_chooses_its_own_threshold(world):
    assert evaluate(world, '--threshold', 'auto', '--out', str(world / 'auto.json')).code == 0
    found = json.loads((world / 'auto.json').read_text())
    assert 0 < found['wsol/BoxAccV2@auto'] <= found['wsol/MaxBoxAccV2']
    assert found['settings']['threshold'] == 'auto'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--eval-size', '0'), '--eval-size is a side, or height and width'),
        (('--threshold-from', 'none.json'), 'none.json does not exist'),
        (('--threshold', '2'), 'threshold must be a number from 0 to below 1'),
        (('--threshold', 'best'), "threshold must be 'oracle', 'transfer', 'auto'"),
        (('--predictions', 'none.csv'), 'none.csv does not exist'),
        (('--iou-thrs', '0'), 'iou_thrs are whole per cent'),
    ],
)
def test_bad_options_are_one_sentence(world, options, message):
    done = evaluate(world, *options)
    assert done.code == 2
    assert done.err.startswith('error: ')
    assert message in done.err
    assert 'Traceback' not in done.err


def test_masks(tmp_path):
    """Mask metadata: a map that is the mask itself is perfect, with the ignored pixels left out."""
    rng = np.random.default_rng(0)
    (tmp_path / 'meta').mkdir()
    (tmp_path / 'maps').mkdir()
    rows = {'image_ids': [], 'class_labels': [], 'image_sizes': [], 'localization': []}
    for i in range(4):
        mask, ignore = np.zeros((2, 224, 224), np.uint8)
        mask[40:120, 30 : 90 + 10 * i] = 255
        ignore[100:200, 20:200] = 255
        cv2.imwrite(str(tmp_path / f'm{i}.png'), mask)
        cv2.imwrite(str(tmp_path / f'g{i}.png'), ignore)
        score = np.where((ignore > 0) & (mask == 0), rng.random(mask.shape), mask / 255)
        score[0, 0] = 0.3 if i == 0 else 0
        np.save(tmp_path / 'maps' / f'{i}.npy', score)
        rows['image_ids'].append(f'{i}.jpg')
        rows['class_labels'].append(f'{i}.jpg,{i % 2}')
        rows['localization'].append(f'{i}.jpg,m{i}.png,g{i}.png')
    for name, lines in rows.items():
        (tmp_path / f'meta/{name}.txt').write_text('\n'.join(lines))
    done = evaluate(tmp_path, '--mask-root', str(tmp_path))
    assert done.code == 0, done.err
    figures = json.loads((tmp_path / 'maps.json').read_text())
    assert figures['wsol/PxAP'] == pytest.approx(100)  # the one wrong pixel scores below every object pixel
    assert figures['wsol/MaxIoU'] == pytest.approx(100)
    assert figures['wsol/threshold@IoU'] == pytest.approx(0.301)  # just above the wrong pixel
    assert cv2.imread(str(tmp_path / 'maps.png')).std() > 10
    errors = evaluate(tmp_path, '--threshold', '0.2', tool='analysis_tools/error_analysis.py')
    assert errors.code == 2
    assert 'defined for boxes' in errors.err


def test_error_analysis(world):
    assert evaluate(world, '--out', str(world / 'val.json')).code == 0
    options = ('--predictions', str(world / 'predictions.csv'), '--threshold-from', str(world / 'val.json'))
    done = evaluate(world, *options, tool='analysis_tools/error_analysis.py')
    assert done.code == 0, done.err
    rows = list(csv.DictReader((world / 'maps_errors' / 'errors.csv').read_text().splitlines()))
    assert [row['image'] for row in rows] == (world / 'meta/image_ids.txt').read_text().split('\n')
    wrong = Counter(row['kind'] for row in rows if row['kind'].startswith('wrong_class'))
    assert wrong.total() == sum(i % 8 >= 6 for i in range(NUMBER)) == 10
    for kind in ('wrong_class', 'wrong_class_and_box'):
        assert f'{f"error_{kind}":26s} {100 * wrong[kind] / 40:6.2f} %' in done.out


def test_center_baseline_and_our_data_sets(world):
    """PartShapes through a config: the centre baseline, and maps that are the boxes themselves."""
    config = world / 'config.py'
    config.write_text(
        "default_scope = 'mmpretrain'\n"
        "test_dataloader = dict(dataset=dict(type='mmentropy.PartShapes', split='test', length=12, seed=0,"
        "    pipeline=[dict(type='mmentropy.PackLocalizationInputs')]))\n"
    )
    truths = ('--config', str(config), '--jobs', '1')
    done = run_tool('analysis_tools/center_baseline.py', *truths, '--out', str(world / 'center.json'))
    assert done.code == 0, done.err
    center = json.loads((world / 'center.json').read_text())
    assert center['images'] == 12
    assert center['wsol/MaxBoxAcc@30'] >= center['wsol/MaxBoxAcc@70'] >= 0
    from mmentropy.datasets import PartShapes

    dataset = PartShapes(split='test', length=12, seed=0)
    folder = world / 'drawn'
    folder.mkdir()
    for i in range(12):
        info = dataset.get_data_info(i)
        cam = np.zeros(info['ori_shape'], np.float32)
        x0, y0, x1, y1 = info['gt_bboxes'][0].astype(int)
        cam[y0:y1, x0:x1] = 1
        np.save(folder / f'{i}.npy', cam)
    done = run_tool('eval_maps.py', str(folder), *truths)
    assert done.code == 0, done.err
    figures = json.loads((world / 'drawn.json').read_text())
    assert figures['wsol/MaxBoxAccV2'] == 100
    assert center['wsol/MaxBoxAccV2'] < 100


def test_maps_with_a_grid_are_drawn_in_their_place(world):
    """Equal to maps that were drawn before; half-pixel on demand."""
    plain = evaluate_figures(world)
    grid = MapGrid((0, 0), (16, 16), (224, 224))
    maps = {path: np.load(path) for path in (world / 'maps').rglob('*.npy')}
    for path, cam in maps.items():
        np.save(path, draw_maps(cam, (224, 224), grid))
    expected = evaluate_figures(world)
    for path, cam in maps.items():
        path.unlink()
        np.savez(path.with_suffix('.npz'), cam=cam, grid=grid.to_array())
    assert evaluate_figures(world) == expected != plain
    assert evaluate_figures(world, '--grid', 'half_pixel') == plain


def evaluate_figures(world: Path, *options: str) -> dict[str, float]:
    assert evaluate(world, *options).code == 0
    return {key: value for key, value in json.loads((world / 'maps.json').read_text()).items() if 'Box' in key}
