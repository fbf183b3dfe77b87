# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The harness behind "The recipe" of docs/results.md: its schedule, its crops and its figures are the package's."""

from __future__ import annotations

import importlib
import json
from argparse import Namespace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample

from mmentropy.evaluation import BoxLocalizationMetric, PixelLocalizationMetric
from mmentropy.registry import MODELS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    return importlib.import_module('recipe')


@pytest.fixture
def figures(recipe):
    return importlib.import_module('recipe_figures')


@pytest.fixture
def args(tmp_path):
    line = 'set=partshapes epochs=2 seed=0 pooling=1 lambda=0.3 aux=0.75 temperature=0.25 # a try'
    (tmp_path / 'queue.txt').write_text(f'{line}\n\n')
    return Namespace(work=str(tmp_path), data_root='', limit=20, queue=tmp_path / 'queue.txt', readings=None)


def test_lines_of_a_queue(recipe):
    runs = recipe.parse('set=photographs seed=0,1 lr=0.02 lambda=0.3  # two of them')
    assert [run.seed for run in runs] == [0, 1]
    assert runs[0] == recipe.Run(set='photographs', lr=0.02, lambda_=0.3)
    assert runs[1].name == 'photographs-report-seed=1-lambda=0.3-lr=0.02'
    assert recipe.parse('# nothing') == recipe.parse('') == []
    with pytest.raises(ValueError, match="'lamda=1': a run has the keys"):
        recipe.parse('lamda=1')
    with pytest.raises(ValueError, match='set is one of'):
        recipe.parse('set=cub')


def test_the_same_step_as_the_package(recipe, figures):
    """Loss and gradient of the loop's recipe are those of the demo's config, pooling, regulariser, GAP's share."""
    run = recipe.Run(**figures.RECIPE)
    torch.manual_seed(0)
    ours = recipe.build_model(run, 10)
    config = Config.fromfile(str(ROOT / 'configs/demo/resnet18_partshapes_ent.py')).model
    config.data_preprocessor = dict(num_classes=10)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        theirs = MODELS.build(config)
    theirs.load_state_dict(ours.state_dict())
    recipe.run_in_bfloat16(ours, False)
    images = torch.randn(4, 3, 64, 64)
    samples = [DataSample().set_gt_label(i) for i in range(4)]
    losses = [model.train()(images, samples, mode='loss')['loss'] for model in (ours, theirs)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=0)
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(ours.head.fc.weight.grad, theirs.head.fc.weight.grad, rtol=1e-4, atol=1e-6)


def test_schedule(recipe):
    """A straight line to the full rate in one epoch, then a cosine to zero."""
    run = recipe.parse('epochs=3 lr=0.2')[0]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=run.lr)
    schedule, rates = recipe.schedulers(run, optimizer, 10), []
    for _ in range(30):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedule:
            scheduler.step()
    steps = np.arange(10)
    expected = 0.2 * (0.01 + 0.99 * steps / 9)
    np.testing.assert_allclose(rates[:10], expected, rtol=1e-6)
    assert max(rates) == pytest.approx(0.2)
    np.testing.assert_allclose(rates[20], 0.2 * 0.5, rtol=0.1)  # the middle of the cosine
    assert rates[-1] < 0.01
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_crops(recipe):
    """Every crop is a window of the padded image, mirrored or not; labels go along."""
    images = torch.randint(1, 255, (6, 3, 8, 8), dtype=torch.uint8)
    data = recipe.Images(images, torch.arange(6), np.zeros((6, 4)))
    run = recipe.parse('set=photographs batch=4')[0]
    padded = torch.nn.functional.pad(images.float(), (4, 4, 4, 4))
    batches = list(recipe.augmented_batches(data, run, torch.Generator().manual_seed(0)))
    assert [len(labels) for _, labels in batches] == [4, 2]
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == list(range(6))
    mirrored = 0
    for crop, label in ((c, i) for crops, labels in batches for c, i in zip(crops, labels)):
        windows = [padded[label, :, y : y + 8, x : x + 8] for y in range(9) for x in range(9)]
        straight = any(torch.equal(crop, window) for window in windows)
        mirrored += not straight
        assert straight or any(torch.equal(crop.flip(-1), window) for window in windows)
    assert 0 < mirrored < 6


def test_figures_are_those_of_the_metrics(recipe, figures, args):
    """V2, GT-known, Top-1 Loc, fixed thresholds and PxAP of half-pixel maps, beside the package's metrics."""
    data = recipe.load_images('partshapes', 'report', 'val', args)
    maps = torch.randn(len(data.labels), 8, 8, generator=torch.Generator().manual_seed(0))
    right = np.arange(len(maps)) % 3 > 0
    drawn = figures.draw_maps(maps, figures.EVAL_SIZE, None).numpy()
    found = figures.figures_of(drawn, right, data)
    metrics = [BoxLocalizationMetric(threshold=0.2), PixelLocalizationMetric()]
    evaluator = Evaluator(metrics)
    for cam, label, box, mask, ok in zip(maps, data.labels, data.boxes, data.masks, right):
        scores = torch.nn.functional.one_hot(label if ok else (label + 1) % 10, 10).float()
        sample = dict(cams=cam[None], cam_labels=label[None], gt_label=label[None], pred_score=scores)
        sample |= dict(gt_bboxes=torch.from_numpy(box)[None], ori_shape=(64, 64), gt_mask=torch.from_numpy(mask))
        evaluator.process([sample])
    theirs = evaluator.evaluate(len(maps))
    pairs = {
        'V2': 'MaxBoxAccV2',
        'GT-known': 'GT-known',
        'V2@0.2': 'BoxAccV2@fixed',
        'PxAP': 'PxAP',
        'Top-1 Loc': 'Top1-Loc',
    }
    for ours, key in pairs.items():
        assert found[ours] == pytest.approx(theirs[f'wsol/{key}'], abs=1e-3), ours


def test_paired(figures):
    assert figures.paired([3.0, 5.0, 7.0], [2.0, 3.0, 4.0]) == '+2.0 ± 2.5'  # 4.303 / √3
    assert figures.paired([11.0, 12.0, 13.5], [1.0, 2.0, 3.0]) == '**+10.2 ± 0.7**'
    assert figures.paired([3.0, None], [2.0, 1.0]) == '+1.0'
    assert figures.with_deviation([1.0, 2.0, 3.0]) == '2.0 ± 1.0'


def test_train_evaluate_and_resume(recipe, figures, args, monkeypatch, capsys):
    run = recipe.queued(args.queue)[0]
    assert recipe.work_on(run, args)
    weights = torch.load(recipe.checkpoint(run, args), weights_only=True)
    assert weights['run'] == vars(run)
    assert len(weights['losses']) == 2
    assert not recipe.work_on(run, args), 'what is done is not done again'
    assert len((Path(args.work) / 'runs.jsonl').read_text().splitlines()) == 1

    # A claim of a process that is gone is taken over, one of a living process is not.
    recipe.checkpoint(run, args).unlink()
    claim = recipe.checkpoint(run, args).with_suffix('.claim')
    claim.write_text('1')
    assert not recipe.work_on(run, args)
    assert recipe.next_run(args) is None
    claim.write_text('999999999')
    assert recipe.work_on(run, args)
    again = torch.load(recipe.checkpoint(run, args), weights_only=True)['state_dict']
    torch.testing.assert_close(again, weights['state_dict'], rtol=0, atol=0)

    figures.evaluate(run, 'partshapes', args)
    found = json.loads(figures.figures_file(run, 'partshapes', args).read_text())
    assert set(found) == {'top-1', *figures.READINGS}
    assert found['protocol']['V2'] >= found['protocol']['V2@0.2']
    assert len(found['certain']['curve']) == 100
    args.set, args.fold, args.init, args.readings = 'partshapes', 'report', 'scratch', ['protocol']
    row = figures.table(args).splitlines()[2]
    assert row.startswith('| recipe [epochs = 2] (1) | protocol |')
    assert '+0.0' in row


def test_methods_have_names(recipe, figures):
    lines = {
        'seed=1': 'GAP',
        'lambda=0.3': 'GAP, λ = 0.3',
        'pooling=1': 'entropy pooling',
        'pooling=1 aux=0.5 lambda=1': 'entropy pooling, 0.5 of the loss on GAP, λ = 1',
        'pooling=1 aux=0.5 lambda=0.3': 'entropy pooling, 0.5 of the loss on GAP, λ = 0.3',
        'pooling=1 aux=0.75 lambda=0.3 temperature=0.25 strides=1111': 'recipe [strides = 1111]',
        'pooling=1 temperature=0.25': 'entropy pooling [temperature = 0.25]',
        'init=pretrained epochs=3 lr=0.1 set=photographs': 'GAP [epochs = 3]',
    }
    assert {line: figures.label(recipe.parse(line)[0]) for line in lines} == lines
