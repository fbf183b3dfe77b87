# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The box metric against the protocol done the slow way, and its thresholds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import METRICS as ROOT_METRICS
from mmengine.registry import DefaultScope
from samples import evaluate, make_sample, make_samples
from wsol_brute_force import iou_by_threshold

from mmentropy.evaluation import BoxLocalizationMetric, save_metrics
from mmentropy.ops.localizing.threshold_rules import own_threshold

SIZE = 56
TINY = {'eval_size': SIZE, 'cam_interval': 0.01}
GRID = np.arange(0, 1, 0.01)


def slow_curves(samples: list[dict], localizer: str = 'cam', contours: str = 'all') -> dict[str, np.ndarray]:
    """Accuracy (%) over thresholds, written out from docs/evaluation.md."""
    ious, top1, top5 = [], [], []
    for s in samples:
        label = int(s['gt_label'][0])
        cam = s['cams'].numpy()[s['cam_labels'].tolist().index(label)]
        entropy = s['entropy_map'].numpy()
        weight = np.exp(-entropy)
        raw = {'cam': cam, 'certainty': -entropy, 'weight': weight, 'relu*weight': np.maximum(cam, 0) * weight}[
            localizer
        ]
        raw = cv2.resize(raw, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        cam = (raw - raw.min()) / (raw.max() - raw.min())
        (h, w), scale = s['ori_shape'], SIZE
        truths = [
            tuple(int(float(v) * scale / n) for v, n in zip(box, (w, h, w, h))) for box in np.asarray(s['gt_bboxes'])
        ]
        ious.append(iou_by_threshold(cam, truths, GRID, contours))
        ranked = np.argsort(-s['pred_score'].numpy(), kind='stable').tolist()
        top1.append(ranked[0] == label)
        top5.append(label in ranked[:5])
    ious = np.array(ious)
    curves = {str(d): 100 * (ious >= d / 100).mean(0) for d in (30, 50, 70)}
    curves['Top1-Loc'] = 100 * ((ious >= 0.5) & np.array(top1)[:, None]).mean(0)
    curves['Top5-Loc'] = 100 * ((ious >= 0.5) & np.array(top5)[:, None]).mean(0)
    return curves


@pytest.mark.parametrize('localizer', ['cam', 'certainty', 'weight', 'relu*weight'])
@pytest.mark.parametrize('contours', ['all', 'largest'])
def test_figures_are_the_protocols(localizer, contours):
    samples = make_samples(24)
    curves = slow_curves(samples, localizer, contours)
    results = evaluate(BoxLocalizationMetric(localizer=localizer, contours=contours, **TINY), samples)
    best = {name: curve.max() for name, curve in curves.items()}
    expected = {f'wsol/MaxBoxAcc@{d}': best[str(d)] for d in (30, 50, 70)}
    expected |= {'wsol/MaxBoxAccV2': np.mean([best['30'], best['50'], best['70']]), 'wsol/GT-known': best['50']}
    expected |= {f'wsol/{name}': best[name] for name in ('Top1-Loc', 'Top5-Loc')}
    expected |= {f'wsol/threshold@{name}': GRID[curve.argmax()] for name, curve in curves.items()}
    if contours == 'largest':
        expected['wsol/MaxBoxAcc'] = best['50']
    assert results == pytest.approx(expected, abs=1e-9)
    assert 0 < results['wsol/Top1-Loc'] <= results['wsol/Top5-Loc'] < 100


def test_maximum_is_over_the_set_never_per_image():
    """Two images whose best thresholds exclude one another: each could be hit, no threshold hits both."""

    def sample(low: int, high: int, box: list[int]) -> dict:
        cam = torch.zeros(1, 100, 100)
        cam[0, 10:90, 10:90] = low
        cam[0, 40:50, 40:50] = high
        cam[0, 0, 0] = -0.001
        return dict(
            cams=cam, cam_labels=[0], gt_label=[0], gt_bboxes=np.array([box]), ori_shape=(100, 100), pred_label=[0]
        )

    wide = sample(20, 100, [10, 10, 90, 90])  # its object appears below a fifth of the maximum
    narrow = sample(60, 100, [40, 40, 50, 50])  # its own only above three fifths
    metric = BoxLocalizationMetric(eval_size=100, interpolation='nearest')
    assert evaluate(metric, [wide])['wsol/MaxBoxAccV2'] == 100
    assert evaluate(metric, [narrow])['wsol/MaxBoxAccV2'] == 100
    both = evaluate(metric, [wide, narrow])
    assert both['wsol/MaxBoxAccV2'] == 50
    assert both['wsol/threshold@50'] == 0.0  # the smallest of those that are equally good
    assert 'wsol/Top1-Loc' in both
    assert 'wsol/Top5-Loc' not in both  # a predicted label alone says nothing of the five best


def test_fixed_thresholds_are_met_exactly_and_do_not_move_the_maximum():
    samples = make_samples(24)
    curves = slow_curves(samples)
    oracle = evaluate(BoxLocalizationMetric(**TINY), samples)
    # 0.237 lies between the thresholds of the grid
    results = evaluate(BoxLocalizationMetric(threshold=0.237, **TINY), samples)
    assert {key: value for key, value in results.items() if not key.endswith('@fixed')} == oracle
    fine = evaluate(BoxLocalizationMetric(eval_size=SIZE, cam_interval=0.237, threshold=0.237), samples)
    assert results['wsol/BoxAcc@50@fixed'] == fine['wsol/BoxAcc@50@fixed']
    by_name = {'30': 0.1, '50': 0.2, '70': 0.3, 'Top1-Loc': 0.4, 'Top5-Loc': 0.5}
    results = evaluate(BoxLocalizationMetric(threshold=by_name, **TINY), samples)
    at = {name: curves[name][round(100 * t)] for name, t in by_name.items()}
    assert results['wsol/BoxAccV2@fixed'] == pytest.approx(np.mean([at['30'], at['50'], at['70']]))
    assert results['wsol/GT-known@fixed'] == pytest.approx(at['50'])
    assert results['wsol/Top1-Loc@fixed'] == pytest.approx(at['Top1-Loc'])
    assert results['wsol/Top5-Loc@fixed'] == pytest.approx(at['Top5-Loc'])


@pytest.mark.parametrize('rule', ['auto', 'entropy_area', 'mean_share', 'otsu'])
@pytest.mark.parametrize('contours', ['all', 'largest'])
def test_every_map_chooses_its_own_threshold(rule, contours):
    samples = make_samples(24)
    options = dict(contours=contours, **TINY)
    results = evaluate(BoxLocalizationMetric(threshold=rule, **options), samples)
    oracle = evaluate(BoxLocalizationMetric(**options), samples)
    assert {key: value for key, value in results.items() if not key.endswith(f'@{rule}')} == oracle
    # One image at a time, each at the fixed threshold that its drawn map chooses.
    alone = []
    for sample in samples:
        row = sample['cam_labels'].tolist().index(int(sample['gt_label'][0]))
        cam = cv2.resize(sample['cams'].numpy()[row], (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        cam = (cam - cam.min()) / (cam.max() - cam.min())
        fixed = BoxLocalizationMetric(threshold=own_threshold(cam, rule), **options)
        alone.append(evaluate(fixed, [sample]))
    for name in ('BoxAccV2', 'BoxAcc@30', 'BoxAcc@70', 'GT-known', 'Top1-Loc', 'Top5-Loc'):
        expected = np.mean([found[f'wsol/{name}@fixed'] for found in alone])
        assert results[f'wsol/{name}@{rule}'] == pytest.approx(expected), name
    assert 0 < results[f'wsol/BoxAccV2@{rule}'] < 100


def test_thresholds_transfer_from_the_validation_split(tmp_path):
    val, test = make_samples(20, seed=1), make_samples(24)
    chosen = evaluate(BoxLocalizationMetric(**TINY), val)
    save_metrics(tmp_path / 'val.json', chosen)
    results = evaluate(BoxLocalizationMetric(threshold_from=tmp_path / 'val.json', **TINY), test)
    curves = slow_curves(test)
    at = {name: curve[round(100 * chosen[f'wsol/threshold@{name}'])] for name, curve in curves.items()}
    assert results['wsol/BoxAccV2@transfer'] == pytest.approx(np.mean([at['30'], at['50'], at['70']]))
    assert results['wsol/Top1-Loc@transfer'] == pytest.approx(at['Top1-Loc'])
    assert results['wsol/threshold@50@transfer'] == chosen['wsol/threshold@50']
    # side by side with the oracle, which can only be better; here it is
    assert results['wsol/MaxBoxAccV2'] > results['wsol/BoxAccV2@transfer']
    # transferred to the split that chose, it is the oracle
    own = evaluate(BoxLocalizationMetric(threshold_from=tmp_path / 'val.json', **TINY), val)
    assert own['wsol/BoxAccV2@transfer'] == own['wsol/MaxBoxAccV2'] == chosen['wsol/MaxBoxAccV2']
    assert own['wsol/Top5-Loc@transfer'] == chosen['wsol/Top5-Loc']


def test_class_agnostic_map_serves_every_class():
    samples = make_samples(10)
    for s in samples:
        s['cams'] = s['cams'][s['cam_labels'] == s['gt_label']]
        s['cam_labels'] = s['gt_label']
    expected = evaluate(BoxLocalizationMetric(**TINY), samples)
    for s in samples:
        s['cam_labels'] = torch.tensor([-1])
    assert evaluate(BoxLocalizationMetric(**TINY), samples) == expected


def test_several_labels_are_cases_of_their_own():
    """One image with two labels counts as two images that share its maps and predictions."""
    single = []
    for s in make_samples(8):
        other = next(int(c) for c in s['cam_labels'] if c != s['gt_label'])
        box = np.float32([[3, 3, 30, 30]])
        single += [s, s | {'gt_label': [other], 'gt_bboxes': box}]
    both = [
        a
        | {
            'gt_label': [int(a['gt_label']), b['gt_label'][0], 77],  # 77 has no box: no case
            'gt_bboxes': np.concatenate([b['gt_bboxes'], a['gt_bboxes']]),
            'gt_bbox_labels': b['gt_label'] + [int(a['gt_label'])] * len(a['gt_bboxes']),
        }
        for a, b in zip(single[::2], single[1::2])
    ]
    assert evaluate(BoxLocalizationMetric(**TINY), both) == evaluate(BoxLocalizationMetric(**TINY), single)
    none = both[0] | {'gt_bbox_labels': [55] * 9, 'gt_bboxes': np.zeros((9, 4))}
    with pytest.raises(ValueError, match='none of its labels'):
        BoxLocalizationMetric(**TINY).process(None, [none])


def test_half_precision_maps_and_builds_from_any_scope():
    samples = make_samples(6)
    for s in samples:
        s['cams'] = s['cams'].bfloat16()
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        metric = ROOT_METRICS.build(dict(type='mmentropy.BoxLocalizationMetric', **TINY))
    rounded = [dict(s, cams=s['cams'].float()) for s in samples]
    assert evaluate(metric, samples) == evaluate(BoxLocalizationMetric(**TINY), rounded)


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ({'gt_bboxes': np.zeros((0, 4))}, ValueError, 'image_0.jpg: an image without a ground-truth box'),
        ({'gt_bboxes': None}, KeyError, "image_0.jpg has no 'gt_bboxes', which BoxLocalizationMetric reads"),
        ({'cam_labels': torch.tensor([90, 91, 92])}, ValueError, 'image_0.jpg: it has maps of the classes'),
        ({'gt_label': torch.tensor([0, 1])}, KeyError, "image_0.jpg has no 'gt_bbox_labels'"),
        ({'gt_label': torch.tensor([], dtype=int)}, ValueError, 'image_0.jpg: it has no label'),
        ({'cams': torch.full((4, 7, 7), float('nan'))}, ValueError, 'image_0.jpg: a score map holds NaN'),
    ],
)
def test_bad_samples_are_named(change, error, message):
    sample = make_sample(0) | change
    with pytest.raises(error, match=message):
        BoxLocalizationMetric(**TINY).process(None, [sample])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'contours': 'biggest'}, 'contours must be one of'),
        ({'localizer': 'grad'}, 'localizer must be one of'),
        ({'iou_thrs': (0.3, 0.5)}, 'per cent'),
        ({'threshold': 'best'}, 'threshold must be'),
        ({'threshold': 1.5}, 'threshold must be a number from 0 to below 1, found 1.5'),
        ({'threshold': {'30': 0.2}}, 'threshold has no entry for'),
        ({'threshold': 'transfer'}, 'needs threshold_from'),
        ({'threshold': 'triangle'}, "'auto', 'entropy_area', 'mean_share', 'otsu'"),
        ({'cam_interval': 0}, 'interval'),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        BoxLocalizationMetric(**options)


def ranked(place: int, truth: tuple[int, ...] = (0, 0, 111, 111)) -> dict:
    """The true class, 3, is the ``place``-th best; its map fills the upper left quarter, all others the lower right."""
    order = [c for c in range(8) if c != 3]
    order.insert(place, 3)
    scores = np.zeros(8, np.float32)
    scores[order] = np.linspace(0.9, 0.2, 8)
    cams = np.zeros((8, 4, 4), np.float32)
    cams[:, 2:, 2:] = 1
    cams[3] = cams[3, ::-1, ::-1]
    boxes = np.array([truth], np.float32)
    return {
        **{'gt_label': np.array([3]), 'pred_score': scores, 'cams': cams, 'cam_labels': np.arange(8)},
        **{'gt_bboxes': boxes, 'ori_shape': (224, 224), 'img_path': f'{place}.jpg'},
    }


@pytest.mark.parametrize(('strategy', 'reached'), [('top5', 5), ('tight_loose', 3)])
def test_error_counts_the_classes_that_the_strategy_looks_at(strategy, reached):
    metric = BoxLocalizationMetric(box_strategy=strategy, interpolation='nearest')
    samples = [ranked(place) for place in range(8)] + [ranked(0, (100, 100, 223, 223))] * 2
    metric.process(None, samples)
    error = metric.evaluate(len(samples))['wsol/Top5-Loc-error']
    assert error == pytest.approx(100 * (1 - reached / 10))


def test_off_by_default_and_unknown_strategies_are_refused():
    metric = BoxLocalizationMetric()
    metric.process(None, [ranked(0)])
    assert 'wsol/Top5-Loc-error' not in metric.evaluate(1)
    with pytest.raises(ValueError, match='box_strategy must be one of'):
        BoxLocalizationMetric(box_strategy='best')


@pytest.mark.parametrize('localizer', ['cam', 'certainty', 'weight'])
def test_guesses_are_cut_at_a_share_of_the_maximum_and_minus_entropy_by_its_range(localizer):
    """Evidence of 1 in a quarter, 0.1 around it and −1 in the last row: of the range, 0.1 lies above one half, and
    the box would be three times too large. The entropy is low in that quarter; −H has no positive value at all."""
    one = ranked(0)
    cams = np.full((8, 4, 4), 0.1, np.float32)
    cams[:, 3], cams[:, :2, :2] = -1, 1
    entropy = np.full((4, 4), 2, np.float32)
    entropy[:2, :2] = 0.5
    one |= {'cams': cams, 'entropy_map': entropy}
    metric = BoxLocalizationMetric(box_strategy='tight_loose', localizer=localizer)
    metric.process(None, [one])
    assert metric.evaluate(1)['wsol/Top5-Loc-error'] == 0


def test_protocol_of_the_entropy_regularisation_paper():
    """The tightest box around the largest contour above 0.15 of the normalised map, right above an IoU of one half."""
    samples = make_samples(24)
    for s in samples[::2]:  # maps that know the object well enough for a low threshold
        s['cams'][:] = torch.from_numpy(cv2.resize(np.float32(s['gt_mask']), (7, 7), interpolation=cv2.INTER_AREA))
    results = evaluate(BoxLocalizationMetric(protocol='er2023', eval_size=SIZE), samples)
    known = top1 = 0
    for s in samples:
        label, (height, width) = int(s['gt_label'][0]), s['ori_shape']
        raw = cv2.resize(s['cams'].numpy()[s['cam_labels'].tolist().index(label)], (SIZE, SIZE), interpolation=2)
        image = np.uint8(255 * ((raw - raw.min()) / (raw.max() - raw.min())))
        binary = np.uint8(image > int(0.15 * image.max()))
        outline = max(cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0], key=cv2.contourArea)
        x, y, w, h = cv2.boundingRect(outline)
        x1, y1 = min(x + w, SIZE - 1), min(y + h, SIZE - 1)
        best = 0.0
        for box in np.asarray(s['gt_bboxes']):
            a0, b0, a1, b1 = (int(float(v) * SIZE / n) for v, n in zip(box, (width, height, width, height)))
            across, down = min(x1, a1) - max(x, a0) + 1, min(y1, b1) - max(y, b0) + 1
            shared = max(across, 0) * max(down, 0)
            union = (x1 - x + 1) * (y1 - y + 1) + (a1 - a0 + 1) * (b1 - b0 + 1) - shared
            best = max(best, shared / union)
        known += best > 0.5
        top1 += best > 0.5 and int(s['pred_label']) == label
    assert results['er2023/GT-known@fixed'] == pytest.approx(100 * known / 24)
    assert results['er2023/Top1-Loc@fixed'] == pytest.approx(100 * top1 / 24)
    assert results['er2023/GT-known'] >= results['er2023/GT-known@fixed'] > 0


def test_protocol_settles_its_options():
    with pytest.raises(ValueError, match=r"protocol must be one of \['er2023'\], got 'er'"):
        BoxLocalizationMetric(protocol='er')
    with pytest.raises(ValueError, match=r"protocol='er2023' settles threshold; leave threshold=0\.2 out"):
        BoxLocalizationMetric(protocol='er2023', threshold=0.2)
    assert BoxLocalizationMetric(protocol='er2023', prefix='mine').prefix == 'mine'
