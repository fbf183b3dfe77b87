# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Faithfulness over a data set: means of the figures of its images, whatever the batches and processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from mmentropy.evaluation import FaithfulnessMetric
from mmentropy.evaluation.counting import add_counts
from mmentropy.models import LocalizationClassifier
from mmentropy.ops.faithfulness.agreement import energy_share, pointing_hit
from mmentropy.ops.faithfulness.figures import FIGURES, faithfulness_figures
from mmentropy.ops.mapping.scaling import draw_maps, normalize_map

NAMES = list(FIGURES)
OPTIONS = dict(steps=5, road_fractions=(0.3, 0.7), sensitivity=dict(samples=2), randomization=dict(stages=2))


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    backbone = dict(type='ResNet', depth=18, base_channels=4, stem_channels=4)
    head = dict(type='mmentropy.CAMHead', num_classes=5)
    preprocessor = dict(type='ClsDataPreprocessor', mean=[100.0] * 3, std=[50.0] * 3, num_classes=5)
    found = LocalizationClassifier(
        backbone, dict(type='GlobalAveragePooling'), head, data_preprocessor=preprocessor
    ).eval()
    with torch.no_grad():  # a network whose maps differ between places and classes
        found.head.fc.weight.mul_(20)
    return found


def batch_of(numbers):
    """Data batches as a loader gives them: uint8 images with labels, boxes and, for even numbers, masks."""
    inputs, samples = [], []
    for number in numbers:
        rng = np.random.default_rng(number)
        inputs.append(torch.from_numpy(rng.integers(0, 255, (3, 64, 64)).astype(np.uint8)))
        sample = DataSample(metainfo=dict(img_path=f'{number}.jpg', ori_shape=(32, 32), img_shape=(64, 64)))
        sample.set_gt_label(int(rng.integers(5)))
        sample.set_field(np.array([[4, 4, 20, 24]], np.float32), 'gt_bboxes')
        if number % 2 == 0:
            mask = np.zeros((32, 32), np.uint8)
            mask[8:20, 10:30] = 1
            sample.set_field(mask, 'gt_mask')
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def run(model, metric, size=6, batch=2, numbers=None):
    """Predictions and metric as an evaluation loop calls them."""
    metric.use_model(model)
    numbers = list(range(size)) if numbers is None else numbers
    for start in range(0, len(numbers), batch):
        data = batch_of(numbers[start : start + batch])
        with torch.no_grad():
            found = model.test_step(data)
        metric.process(data, [sample.to_dict() for sample in found])
    return metric


def test_the_figures_are_means_of_those_of_the_images(model):
    metric = run(model, FaithfulnessMetric(NAMES, target='label', options=OPTIONS, prefix='f'), 4)
    found = metric.evaluate(4)
    by_name, hits, shares = {name: [] for name in NAMES}, {}, []
    for number in range(4):
        data = batch_of([number])
        with torch.no_grad():
            sample = model.test_step(data)[0]
        label = int(sample.gt_label)
        images = model.data_preprocessor(data, False)['inputs']
        cam = sample.cams[sample.cam_labels.tolist().index(label)].numpy()
        drawn = torch.from_numpy(normalize_map(draw_maps(cam, (64, 64), sample.map_grid), 'max'))[None]
        names = ['average_drop', 'increase', 'deletion', 'insertion', 'sparseness', 'complexity']
        figures = faithfulness_figures(model, images, drawn, torch.tensor([label]), names, steps=5)
        for name, value in figures.items():
            by_name[name].append(FIGURES[name].factor * value.item())
        at_image = draw_maps(cam, (32, 32), sample.map_grid.before_resize((32, 32)))
        truth = dict(mask=sample.get('gt_mask')) if 'gt_mask' in sample else dict(boxes=sample.gt_bboxes)
        hits.setdefault(label, []).append(pointing_hit(at_image, **truth))
        shares.append(energy_share(at_image, **truth))
    for name in names:
        assert found[f'f/{name}'] == pytest.approx(np.nanmean(by_name[name]), abs=1e-3), name
    assert found['f/pointing'] == pytest.approx(100 * np.mean([np.mean(hit) for hit in hits.values()]))
    assert found['f/energy'] == pytest.approx(100 * np.mean([s for s in shares if s is not None]), abs=1e-4)
    assert list(found) == [f'f/{name}' for name in NAMES] + ['f/constant_maps']
    assert found['f/random_logit'] < 0.999
    assert found['f/parameter_randomization'] < 0.999


def test_batches_and_processes_change_nothing(model):
    options = dict(target='label', options=OPTIONS)
    whole = run(model, FaithfulnessMetric(NAMES, **options), 4, 4).evaluate(4)
    single = run(model, FaithfulnessMetric(NAMES, **options), 4, 1).evaluate(4)
    parts = [run(model, FaithfulnessMetric(NAMES, **options), numbers=[i, i + 2]) for i in range(2)]
    totals = {}
    for part in parts:  # as the processes' sums are added up
        for counts in part._pending:
            add_counts(totals, counts)
    several = {f'wsol/{name}': value for name, value in parts[0].figures(totals).items()}
    assert single == pytest.approx(whole, abs=2e-3)
    assert several == pytest.approx(whole, abs=2e-3)


def test_half_pixel_drawing_is_another_map(model):
    names = ['deletion', 'energy']
    in_place = run(model, FaithfulnessMetric(names, target='label')).evaluate(6)
    half = run(model, FaithfulnessMetric(names, target='label', grid='half_pixel')).evaluate(6)
    assert in_place != half


def test_a_constant_map_is_counted_and_left_out(model):
    metric = FaithfulnessMetric(['deletion', 'energy', 'average_drop'], options=OPTIONS)
    metric.use_model(model)
    data = batch_of([0, 1])
    with torch.no_grad():
        samples = [sample.to_dict() for sample in model.test_step(data)]
    samples[0]['cams'] = torch.zeros_like(samples[0]['cams'])
    metric.process(data, samples)
    found = metric.evaluate(2)
    alone = FaithfulnessMetric(['deletion', 'energy'], options=OPTIONS)
    alone.use_model(model)
    alone.process(batch_of([1]), samples[1:])
    assert found['wsol/constant_maps'] == 1
    assert found['wsol/deletion'] == pytest.approx(alone.evaluate(1)['wsol/deletion'], abs=1e-4)
    assert found['wsol/average_drop'] > 0


def test_what_is_missing_is_said(model):
    data = batch_of([0])
    with torch.no_grad():
        sample = model.test_step(data)[0].to_dict()
    with pytest.raises(ValueError, match=r"add custom_hooks=\[dict\(type='mmentropy.MetricModelHook'\)\]"):
        FaithfulnessMetric().process(data, [sample])
    with pytest.raises(ValueError, match="'faith' is no figure"):
        FaithfulnessMetric(['faith'])
    with pytest.raises(ValueError, match='target must be one of predicted, label'):
        FaithfulnessMetric(target='best')
    with pytest.raises(ValueError, match='normalize must be one of minmax, max'):
        FaithfulnessMetric(normalize='sum')
    boxless = {k: v for k, v in sample.items() if k not in ('gt_bboxes', 'gt_mask')}
    metric = FaithfulnessMetric(['energy'])
    with pytest.raises(KeyError, match=r"0.jpg has no 'gt_bboxes', which FaithfulnessMetric reads"):
        metric.process(data, [boxless])
    metric = FaithfulnessMetric(['deletion'])
    metric.use_model(model)
    with pytest.raises(KeyError, match=r"0.jpg has no 'cams'"):
        metric.process(data, [{k: v for k, v in sample.items() if k != 'cams'}])
