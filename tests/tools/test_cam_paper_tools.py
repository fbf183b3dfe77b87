# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The command lines around :mod:`mmentropy.experiments.analysis` and the report, run in this process on PartShapes."""

from __future__ import annotations

import json
import re
import runpy
import sys
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain', reason='mmpretrain is not installed')

from mmentropy.experiments.analysis import dataset_features, discover_patterns, linear_svm, open_run, photos
from mmentropy.visualization.report_data import ReportData, Sample

ROOT = Path(__file__).parents[2]
CONFIG = """
default_scope = 'mmpretrain'
data_preprocessor = dict(num_classes=3, mean=[127.5] * 3, std=[63.75] * 3, to_rgb=True)
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 1, 1)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead'),
)
def_data = dict(type='mmentropy.PartShapes', num_classes=3, image_size=64, num_objects=2)
train_dataloader = dict(dataset=dict(**def_data, split='train', length=24,
    pipeline=[dict(type='RandomCrop', crop_size=64)]))
test_dataloader = dict(dataset=dict(**def_data, split='test', length=12, pipeline=[]))
"""


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    (folder / 'c.py').write_text(CONFIG)
    torch.manual_seed(0)
    reader, _ = open_run(folder / 'c.py', None, random_weights=True)
    torch.save(reader.loaded.model.state_dict(), folder / 'w.pth')
    return folder, *open_run(folder / 'c.py', str(folder / 'w.pth'))


def call(monkeypatch, capsys, tool: str, *arguments: object) -> str:
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
    monkeypatch.setenv('COLUMNS', '160')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MMENTROPY_DEBUG', '1')
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
    return capsys.readouterr().out


def test_linear_probe_and_crops_print_what_the_library_gives(run, monkeypatch, capsys):
    pytest.importorskip('sklearn', reason='scikit-learn is not installed')
    folder, reader, sets = run
    expected = linear_svm(*(dataset_features(reader, photos(sets[split])) for split in ('train', 'test')))
    out = call(monkeypatch, capsys, 'analysis_tools/linear_probe.py', folder / 'c.py', '--weights', folder / 'w.pth')
    assert '24 images to train on, 12 to test on, 64 features' in out
    assert f'top-1 {expected:.2f} %' in out
    out = call(
        monkeypatch, capsys, 'analysis_tools/crop_and_classify.py', folder / 'c.py', '--weights', folder / 'w.pth'
    )
    figures = dict(re.findall(r'(full image|crop by the \w+ box)\D+([\d.]+)', out))
    assert set(figures) == {'full image', 'crop by the CAM box', 'crop by the true box'}
    assert figures['full image'] == f'{expected:.2f}'


def test_probe_of_several_features_gives_a_table(run, monkeypatch, capsys):
    pytest.importorskip('sklearn', reason='scikit-learn is not installed')
    folder, reader, sets = run
    features = [dataset_features(reader, photos(sets[split]), kind='gap') for split in ('train', 'test')]
    np.testing.assert_allclose(features[0][0], dataset_features(reader, photos(sets['train']))[0], atol=1e-4)
    words = ('--weights', folder / 'w.pth', '--data', folder / 'c.py', '--features', 'classifier', 'gap')
    out = call(monkeypatch, capsys, 'analysis_tools/linear_probe.py', folder / 'c.py', *words)
    expected = f'{linear_svm(*features):.2f}'
    assert re.findall(r'c\s+│ (classifier|gap)\s+│ 1 │ ([\d.]+)', out) == [('classifier', expected), ('gap', expected)]


def test_concepts_of_a_csv(run, tmp_path, monkeypatch, capsys):
    pytest.importorskip('sklearn', reason='scikit-learn is not installed')
    folder, _, sets = run
    rows = ['image,concepts,objects']
    for i, photo in enumerate(photos(sets['test'])):
        cv2.imwrite(str(tmp_path / f'{i}.png'), photo.image[..., ::-1])
        rows.append(f'{i}.png,{"text" if i < 4 else ""},sign 0 0 64 64')
    (tmp_path / 'c.csv').write_text('\n'.join(rows))
    words = ('--weights', folder / 'w.pth', '--csv', tmp_path / 'c.csv', '--images', tmp_path)
    out = call(
        monkeypatch, capsys, 'analysis_tools/pattern_discovery.py', folder / 'c.py', *words,
        '--out', tmp_path / 'c.json', '--pictures', tmp_path / 'pictures',
    )  # fmt: skip
    written = json.loads((tmp_path / 'c.json').read_text())
    assert set(written) == {'text'}
    assert sorted(Path(path).name for path in written['text']['best']) == [f'{i}.png' for i in range(4)]
    assert written['text']['objects'][0]['label'] == 'sign'
    assert written['text']['objects'][0]['share'] == pytest.approx(1)
    assert 'text' in out
    assert cv2.imread(str(tmp_path / 'pictures/text.png')) is not None


def test_pattern_discovery_and_class_units(run, monkeypatch, capsys):
    folder, reader, sets = run
    weights = ('--weights', folder / 'w.pth')
    out = folder / 'p.json'
    call(monkeypatch, capsys, 'analysis_tools/pattern_discovery.py', folder / 'c.py', *weights, '--out', out)
    names = sets['test'].metainfo['classes']
    expected = discover_patterns(reader, photos(sets['test']))
    written = json.loads(out.read_text())
    assert written == {
        names[c]: [asdict(row) | {'label': names[row.label]} for row in rows] for c, rows in expected.items()
    }
    for rows in expected.values():
        assert [row.frequency for row in rows] == sorted((row.frequency for row in rows), reverse=True)
    picture = folder / 'u.png'
    options = ('--class', names[1], '--units', 2, '--images', 3, '--out', picture)
    text = call(monkeypatch, capsys, 'analysis_tools/class_units.py', folder / 'c.py', *weights, *options)
    weight = reader.weight[1]
    first, second = np.argsort(-weight, kind='stable')[:2]
    assert f'unit {first}: weight {weight[first]:.4f}' in text
    assert f'unit {second}: weight {weight[second]:.4f}' in text
    # Two rows of a heading (22), captions (16) and tiles (120), three tiles wide, gaps of four.
    assert cv2.imread(str(picture)).shape == (2 * 158 + 4, 3 * 120 + 8, 3)
    with pytest.raises(ValueError, match="'nothing' is neither"):
        call(monkeypatch, capsys, 'analysis_tools/class_units.py', folder / 'c.py', *weights, '--class', 'nothing')


def test_report_of_a_folder(tmp_path, monkeypatch, capsys):
    picture = cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    ReportData([Sample('a/b.jpg', thumb=picture)], ('x',), {'accuracy': 12.5}, 'k = 1').save(tmp_path / 'report.npz')
    out = call(monkeypatch, capsys, 'report.py', tmp_path, '--title', 'my <run>')
    assert f'{tmp_path}/report.html' in out
    page = (tmp_path / 'report.html').read_text()
    assert '<title>my &lt;run&gt;</title>' in page
    assert '"accuracy": 12.5' in page
    with pytest.raises(FileNotFoundError, match='no such folder'):
        call(monkeypatch, capsys, 'report.py', tmp_path / 'absent')
    (tmp_path / 'report.npz').unlink()
    with pytest.raises(FileNotFoundError, match='expected one config'):
        call(monkeypatch, capsys, 'report.py', tmp_path)
