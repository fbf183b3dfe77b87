# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The pixel metric against the protocol done the slow way."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from samples import evaluate, make_sample, make_samples, make_scenes

from mmentropy.evaluation import PixelLocalizationMetric, save_metrics
from mmentropy.ops.localizing.threshold_rules import own_threshold

SIZE = 56
TINY = {'eval_size': SIZE, 'cam_interval': 0.01}
GRID = np.arange(0, 1, 0.01)


def prepared(sample: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, mask and valid pixels at the evaluation's size."""
    label = int(sample['gt_label'][0])
    cam = sample['cams'].numpy()[sample['cam_labels'].tolist().index(label)]
    cam = cv2.resize(cam, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    # Compared with thresholds of float64: numpy 1 would compare in float32, where a score on an edge may move.
    cam = ((cam - cam.min()) / (cam.max() - cam.min())).astype(np.float64)
    mask, ignore = (cv2.resize(sample[k], (SIZE, SIZE), interpolation=0) > 0 for k in ('gt_mask', 'ignore_mask'))
    return cam, mask, mask | ~ignore


def precision_area(scores: np.ndarray, mask: np.ndarray) -> float:
    """PxAP, threshold by threshold."""
    area, last = 0.0, 0.0
    for t in np.append(GRID, [1.0, 2.0])[::-1]:
        found = scores >= t
        if found.any():
            recall = (found & mask).sum() / mask.sum()
            area += (found & mask).sum() / found.sum() * (recall - last)
            last = recall
    return 100 * area


def slow_curves(samples: list[dict]) -> dict[str, np.ndarray]:
    """IoU and F1 over thresholds: means over images, and pooled."""
    names = ('IoU', 'F1+', 'F1-')
    rows, pooled = [], np.zeros((len(GRID), 4))
    for sample in samples:
        cam, mask, valid = prepared(sample)
        counts = []
        for t in GRID:
            found = cam >= t
            counts.append([(a & b & valid).sum() for a, b in ((found, mask), (found, ~mask), (~found, mask))])
            counts[-1].append((~found & ~mask & valid).sum())
        rows.append(np.array(counts))
        pooled += rows[-1]

    def scores(c: np.ndarray) -> np.ndarray:
        tp, fp, fn, tn = c.T
        return 100 * np.stack([tp / (tp + fp + fn), 2 * tp / (2 * tp + fp + fn), 2 * tn / (2 * tn + fp + fn)])

    curves = dict(zip(names, np.mean([scores(row) for row in rows], axis=0)))
    return curves | dict(zip((f'pooled-{name}' for name in names), scores(pooled)))


def test_figures_are_the_protocols():
    samples = make_samples(16)
    results = evaluate(PixelLocalizationMetric(threshold=0.333, **TINY), samples)
    flat = [(cam[valid], mask[valid], int(s['gt_label'][0])) for s in samples for cam, mask, valid in [prepared(s)]]
    area = precision_area(np.concatenate([f[0] for f in flat]), np.concatenate([f[1] for f in flat]))
    assert results['wsol/PxAP'] == pytest.approx(area, abs=1e-9)
    by_class = [
        precision_area(*(np.concatenate([f[k] for f in flat if f[2] == label]) for k in (0, 1)))
        for label in {f[2] for f in flat}
    ]
    assert results['wsol/mPxAP'] == pytest.approx(np.mean(by_class), abs=1e-9)
    curves = slow_curves(samples)
    for name in ('IoU', 'F1+', 'pooled-IoU', 'pooled-F1+'):
        assert results[f'wsol/Max{name}'] == pytest.approx(curves[name].max(), abs=1e-6)
        assert results[f'wsol/threshold@{name}'] == GRID[curves[name].argmax()]
    assert results['wsol/F1-@oracle'] == pytest.approx(curves['F1-'][curves['F1+'].argmax()], abs=1e-6)
    assert (results['wsol/empty_masks'], results['wsol/full_masks']) == (0, 0)
    # 0.333 lies between thresholds of the grid; the oracle and PxAP do not see it
    alone = evaluate(PixelLocalizationMetric(**TINY), samples)
    assert {k: v for k, v in results.items() if not k.endswith('@fixed')} == alone
    ious = []
    for s in samples:
        cam, mask, valid = prepared(s)
        ious.append(((cam >= 0.333) & mask).sum() / (((cam >= 0.333) | mask) & valid).sum())
    assert results['wsol/IoU@fixed'] == pytest.approx(100 * np.mean(ious), abs=1e-6)


@pytest.mark.parametrize('rule', ['auto', 'mean_share'])
def test_every_map_chooses_its_own_threshold(rule):
    samples = make_samples(16)
    results = evaluate(PixelLocalizationMetric(threshold=rule, **TINY), samples)
    oracle = evaluate(PixelLocalizationMetric(**TINY), samples)
    assert {key: value for key, value in results.items() if not key.endswith(f'@{rule}')} == oracle
    counts = []
    for cam, mask, valid in map(prepared, samples):
        found = cam > own_threshold(cam, rule)
        counts.append([(a & b & valid).sum() for a, b in ((found, mask), (found, ~mask), (~found, mask))])
    tp, fp, fn = np.array(counts).T
    assert results[f'wsol/IoU@{rule}'] == pytest.approx(100 * np.mean(tp / (tp + fp + fn)), abs=1e-6)
    assert results[f'wsol/F1+@{rule}'] == pytest.approx(100 * np.mean(2 * tp / (2 * tp + fp + fn)), abs=1e-6)
    pooled = 100 * tp.sum() / (tp + fp + fn).sum()
    assert results[f'wsol/pooled-IoU@{rule}'] == pytest.approx(pooled)


def test_transfer(tmp_path):
    val, test = make_samples(8, seed=1), make_samples(16)
    chosen = evaluate(PixelLocalizationMetric(**TINY), val)
    save_metrics(tmp_path / 'val.json', chosen)
    results = evaluate(PixelLocalizationMetric(threshold_from=tmp_path / 'val.json', **TINY), test)
    curves = slow_curves(test)
    for name, companion in (('IoU', None), ('F1+', 'F1-'), ('pooled-IoU', None), ('pooled-F1+', 'pooled-F1-')):
        at = round(100 * chosen[f'wsol/threshold@{name}'])
        assert results[f'wsol/{name}@transfer'] == pytest.approx(curves[name][at], abs=1e-6)
        if companion:
            assert results[f'wsol/{companion}@transfer'] == pytest.approx(curves[companion][at], abs=1e-6)


def test_several_labels_without_masks_of_their_own_share_the_union():
    s = make_sample(0)
    first, second = (int(label) for label in s['cam_labels'][:2])
    maps = [prepared(s | {'gt_label': torch.tensor([label])})[0] for label in (first, second)]
    _, mask, valid = prepared(s)
    results = evaluate(PixelLocalizationMetric(**TINY), [s | {'gt_label': torch.tensor([first, second])}])
    expected = precision_area(np.maximum(*maps)[valid], mask[valid])
    assert results['wsol/PxAP'] == pytest.approx(expected, abs=1e-9)
    assert results['wsol/classwise-union-PxAP'] == pytest.approx(expected, abs=1e-9)
    assert 'wsol/mPxAP' not in results


def two_objects(swapped: bool, **truth: np.ndarray) -> dict:
    """Two disjoint objects on a seventh and a quarter of the image, and maps that are exactly their masks."""
    seg_map = np.zeros((SIZE, SIZE), np.uint8)
    seg_map[: SIZE // 2, : 2 * SIZE // 7] = 3
    seg_map[SIZE // 2 :, SIZE // 2 :] = 6
    cams = torch.from_numpy(np.stack([seg_map == 3, seg_map == 6]).astype(np.float32))
    return {
        'cams': cams.flip(0) if swapped else cams,
        'cam_labels': torch.tensor([2, 5]),
        'gt_label': torch.tensor([2, 5]),
        'gt_mask': (seg_map > 0).astype(np.uint8),
        **(truth or {'gt_seg_map': seg_map}),
    }


def test_swapped_maps_do_not_score():
    """A map that is 0 on its object finds it with all other pixels: the precision is the object's share."""
    right, wrong = (evaluate(PixelLocalizationMetric(**TINY), [two_objects(swapped)]) for swapped in (False, True))
    assert (right['wsol/PxAP'], right['wsol/mPxAP']) == (100, 100)
    assert wrong['wsol/PxAP'] == 100  # where any object is
    assert wrong['wsol/mPxAP'] == pytest.approx(100 * (1 / 7 + 1 / 4) / 2, abs=1e-9)
    masks = two_objects(False)['cams'].numpy().astype(np.uint8)
    by_masks = evaluate(PixelLocalizationMetric(**TINY), [two_objects(True, gt_class_masks=masks)])
    assert by_masks == wrong
    with pytest.raises(ValueError, match=r'gt_class_masks holds 1 masks for the 2 labels \[2, 5\]'):
        evaluate(PixelLocalizationMetric(**TINY), [two_objects(True, gt_class_masks=masks[:1])])


def test_mean_over_classes_is_that_of_each_class_alone():
    """Scenes of one to three classes: the mean of precision_area over each class's own maps, masks and images."""
    scenes = make_scenes(14)
    assert len({len(s['gt_label']) for s in scenes}) == 3
    pixels = {}
    for s in scenes:
        ignore = cv2.resize(np.uint8(s['gt_seg_map'] == 255), (SIZE, SIZE), interpolation=0) > 0
        for label in s['gt_label'].tolist():
            scores, _, _ = prepared(s | {'gt_label': torch.tensor([label]), 'ignore_mask': s['gt_mask']})
            mask = cv2.resize(np.uint8(s['gt_seg_map'] == label + 1), (SIZE, SIZE), interpolation=0) > 0
            pixels.setdefault(label, []).append((scores[mask | ~ignore], mask[mask | ~ignore]))
    areas = [precision_area(*map(np.concatenate, zip(*pairs))) for pairs in pixels.values()]
    results = evaluate(PixelLocalizationMetric(**TINY), scenes)
    assert results['wsol/mPxAP'] == pytest.approx(np.mean(areas), abs=1e-9)
    # one image that knows the union alone is enough for the figure not to be called mPxAP
    blind = [s | {'gt_seg_map': None} if len(s['gt_label']) > 1 else s for s in scenes]
    assert 'wsol/mPxAP' not in evaluate(PixelLocalizationMetric(**TINY), blind)


def test_empty_and_full_masks_are_counted_and_left_out():
    samples = make_samples(6)
    expected = evaluate(PixelLocalizationMetric(**TINY), samples)
    empty = make_sample(9) | {'gt_mask': np.zeros((40, 40), np.uint8), 'ignore_mask': None}
    results = evaluate(PixelLocalizationMetric(**TINY), [*samples, empty])
    assert results['wsol/MaxIoU'] == expected['wsol/MaxIoU']
    assert results['wsol/MaxF1+'] == expected['wsol/MaxF1+']
    assert results['wsol/empty_masks'] == 1
    assert results['wsol/PxAP'] < expected['wsol/PxAP']  # its false positives do count
    full = make_sample(9) | {'gt_mask': np.ones((40, 40), np.uint8)}
    assert evaluate(PixelLocalizationMetric(**TINY), [*samples, full])['wsol/full_masks'] == 1
    with pytest.raises(ValueError, match='no image of the split has a foreground pixel'):
        evaluate(PixelLocalizationMetric(**TINY), [empty])


def test_mask_must_be_there():
    sample = make_sample(0) | {'gt_mask': None}
    with pytest.raises(KeyError, match="has no 'gt_mask', which PixelLocalizationMetric reads"):
        PixelLocalizationMetric().process(None, [sample])
    with pytest.raises(ValueError, match='localizer must be one of'):
        PixelLocalizationMetric(localizer='grad')


def test_all_metrics_fit_into_one_evaluator():
    """mmengine refuses two results of one name; ours must not clash with one another."""
    samples = make_samples(4)
    configs = [
        dict(type='BoxLocalizationMetric', contours='largest', threshold=0.2, **TINY),
        dict(type='PixelLocalizationMetric', threshold=0.2, **TINY),
        *(dict(type=f'{name}Metric') for name in ('Dice', 'PartCoverage', 'Entropy', 'GridPointing')),
        dict(type='ErrorAnalysisMetric', threshold=0.2),
    ]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        evaluator = Evaluator([config | {'type': f'mmentropy.{config["type"]}'} for config in configs])
    evaluator.process(samples)
    results = evaluator.evaluate(len(samples))
    assert len(results) > 50
    assert all(name.startswith('wsol/') for name in results)
