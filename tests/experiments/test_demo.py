# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The demo: one training read twice, its table, its sentence, its picture."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from mmentropy.experiments import demo
from mmentropy.image_files import read_image
from mmentropy.visualization.panels import GT_COLOR, PRED_COLOR

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
TINY = {
    'train_dataloader.batch_size': 16,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'train_dataloader.dataset.length': 32,
    'test_dataloader.batch_size': 16,
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
    'test_dataloader.dataset.length': 32,
    'train_cfg.max_epochs': 2,
    'model.backbone.base_channels': 8,
    'model.backbone.stem_channels': 8,
}


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    return demo.run_models(CONFIGS, tmp_path_factory.mktemp('demo'), TINY)


def test_the_first_two_rows_are_one_network_read_twice(results):
    (usual, one), (certain, two), (_, three) = results.values()
    first, second, third = (runner.model.state_dict() for runner in (one, two, three))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], third[key]) for key in first)
    assert usual['accuracy/top1'] == certain['accuracy/top1']
    assert not one.model.reading.relu
    assert two.model.reading.relu
    assert [runner.test_evaluator.metrics[1].grid for runner in (one, two, three)] == ['half_pixel', 'sample', 'sample']


def test_the_centre_box_is_the_best_box_of_the_images_aspect_around_the_centre(results):
    runner = next(iter(results.values()))[1]
    found = demo.center_box(runner)
    data = runner.test_dataloader.dataset
    boxes = np.stack([np.asarray(data[i]['data_samples'].get('gt_bboxes')).reshape(-1, 4)[0] for i in range(len(data))])
    size = data[0]['inputs'].shape[-1]
    best = 0.0
    for half in np.linspace(1, size / 2, 300):  # by brute force, on continuous boxes
        low, high = size / 2 - half, size / 2 + half
        x = np.clip(np.minimum(boxes[:, 2], high) - np.maximum(boxes[:, 0], low), 0, None)
        y = np.clip(np.minimum(boxes[:, 3], high) - np.maximum(boxes[:, 1], low), 0, None)
        union = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) + 4 * half**2 - x * y
        best = max(best, 100 * (x * y / union >= 0.5).mean())
    assert found['wsol/GT-known'] == pytest.approx(best, abs=100 / len(data) + 1e-6)  # one image at the rim of 50 %


def test_table_and_sentence_say_the_figures():
    keys = list(demo.COLUMNS.values())
    figures = {'CAM': dict(zip(keys, (50, 40, 30, 20))), 'ours': dict(zip(keys, (81, 72, 63, 54)))}
    table, sentence = demo.summarize_demo(figures, 7)
    text = StringIO()
    Console(file=text, width=100).print(table)
    assert 'Where is the object? 7 drawn images' in text.getvalue()
    assert [line.split()[-4:] for line in text.getvalue().splitlines() if line.strip().startswith(('CAM', 'ours'))] == [
        ['50.0', '40.0', '30.0', '20.0'],
        ['81.0', '72.0', '63.0', '54.0'],
    ]
    assert sentence.startswith('Of 100 boxes, ours has 72 right where CAM has 40; of 100 classes, 81 where it has 50.')


def test_the_picture_shows_truth_and_boxes(results, tmp_path):
    demo.draw_demo(results, tmp_path / 'maps.png', count=2)
    picture = read_image(tmp_path / 'maps.png')
    tile = picture[:, 204:404]  # the first model's column
    assert (tile == GT_COLOR).all(axis=-1).sum() > 100
    assert (tile == PRED_COLOR).all(axis=-1).sum() > 20
    assert np.ptp(picture) == 255


def test_titles_fit_their_columns():
    from mmentropy.visualization.panels import _fit, _font

    for model in demo.MODELS:
        assert _fit(model.title, 196, _font(14)) == model.title


def test_weights_are_kept_and_read(results, tmp_path):
    """Half precision holds 11 bits of each number."""
    demo.save_weights(results, tmp_path / 'weights.pth')
    for model in demo.MODELS:
        read = demo.read_weights(tmp_path / 'weights.pth')[model.config]
        state = results[model.title][1].model.state_dict()
        assert list(read) == list(state)
        for key, value in state.items():
            assert read[key].dtype == value.dtype
            torch.testing.assert_close(read[key], value, rtol=2**-11, atol=1e-7)
    with pytest.raises(FileNotFoundError, match='--save-weights writes one'):
        demo.read_weights(tmp_path / 'none.pth')
    (tmp_path / 'broken.pth').write_bytes(b'PK\x03\x04 no zip')
    with pytest.raises(ValueError, match='no weights of mmentropy demo'):
        demo.read_weights(tmp_path / 'broken.pth')


def test_the_package_brings_trained_networks(tmp_path):
    """Ten classes: chance is 10 %. They are tensors, and nothing that runs code."""
    assert demo.WEIGHTS.stat().st_size < 3e6
    options = {**demo.QUICK, 'test_dataloader.dataset.length': 50}
    results = demo.run_models(CONFIGS, tmp_path, options, weights=demo.WEIGHTS)
    found = {title: values for title, (values, _) in results.items()}
    assert all(values['accuracy/top1'] > 50 for values in found.values())
    usual, certain, _ = found.values()
    assert usual['accuracy/top1'] == certain['accuracy/top1']
