# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The figures of torch-cam and pytorch-grad-cam on the same maps, where the definitions agree."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from mmentropy.ops.faithfulness.imputation import impute
from mmentropy.ops.faithfulness.perturbation import perturbation_scores
from mmentropy.ops.faithfulness.sanity import coherency

torchcam_metrics = pytest.importorskip('torchcam.metrics', reason='torchcam is not installed')
road = pytest.importorskip('pytorch_grad_cam.metrics.road', reason='grad-cam is not installed')


@pytest.fixture(scope='module')
def example():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 4)
    model = nn.Sequential(*layers).eval()
    with torch.no_grad():
        model[-1].weight.mul_(8)
    images, maps = torch.randn(3, 3, 20, 24), torch.rand(3, 20, 24)
    maps = (maps - maps.amin((1, 2), True)) / (maps.amax((1, 2), True) - maps.amin((1, 2), True))
    return model, images, maps, torch.tensor([0, 3, 1])


class Given:
    """An extractor of torch-cam that has its map already."""

    def __init__(self, model, maps):
        self.model, self.maps = model, maps

    def __call__(self, class_idx=None, scores=None, **options):
        return [self.maps]

    def fuse_cams(self, cams):
        return cams[0]

    def _hooks_off(self):
        return nullcontext()


@pytest.mark.parametrize('steps', [7, 20, 480])
def test_deletion_and_insertion_are_torchcams(example, steps):
    model, images, maps, classes = example
    metric = torchcam_metrics.DeletionInsertionMetric(
        Given(model, maps), lambda logits: logits.softmax(-1), steps=steps, baseline=torch.tensor(0.5)
    )
    metric.update(images, classes.tolist())
    found = perturbation_scores(
        model,
        images,
        maps,
        classes,
        ['deletion', 'insertion'],
        steps,
        deletion_baseline=torch.tensor(0.5),
        insertion_baseline=torch.tensor(0.5),
    )
    assert found.deletion.area.mean().item() == pytest.approx(metric.summary()['deletion_auc'], abs=1e-5)
    assert found.insertion.area.mean().item() == pytest.approx(metric.summary()['insertion_auc'], abs=1e-5)


def test_drop_and_increase_are_torchcams(example):
    model, images, maps, classes = example
    metric = torchcam_metrics.ClassificationMetric(Given(model, maps), lambda logits: logits.softmax(-1))
    metric.update(images, classes.tolist())
    found = perturbation_scores(model, images, maps, classes, ['drop'])
    assert found.drop.mean().item() == pytest.approx(metric.summary()['avg_drop'], abs=1e-5)
    assert found.increase.mean().item() == pytest.approx(metric.summary()['conf_increase'])


@pytest.mark.parametrize('share', [0.1, 0.6, 0.9])
def test_imputation_is_grad_cams(example, share):
    _, images, maps, _ = example
    removed = maps > maps.flatten(1).quantile(1 - share, dim=1)[:, None, None]
    imputer = road.NoisyLinearImputer(noise=0.0)
    theirs = torch.stack([imputer(*pair) for pair in zip(images, (~removed).float())])
    torch.testing.assert_close(impute(images, removed), theirs, atol=1e-4, rtol=0)


def test_road_is_grad_cams(example, monkeypatch):
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    model, images, maps, classes = example
    monkeypatch.setattr(road.NoisyLinearImputer.__init__, '__defaults__', (0.0, road.neighbors_weights))
    targets = [ClassifierOutputSoftmaxTarget(int(c)) for c in classes]
    theirs = road.ROADCombined()(images, maps.numpy(), targets, model)
    ours = perturbation_scores(model, images, maps, classes, ['road'], road_noise=0.0).road
    # At 10 … 90 % of 480 pixels both remove as many: no map has two equal values.
    torch.testing.assert_close(ours, torch.from_numpy(theirs), atol=1e-4, rtol=0)


def test_coherency_is_grad_cams(example):
    from pytorch_grad_cam.metrics.arcc import batch_pearson_coherency

    _, _, maps, _ = example
    theirs = torch.as_tensor(batch_pearson_coherency(maps.numpy(), maps.flip(0).numpy()) + 1) / 2
    torch.testing.assert_close(coherency(maps, maps.flip(0)).double(), theirs.double(), atol=1e-5, rtol=0)
