# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Tables of errors: one row an image, shares that follow from the rows."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from samples import evaluate, make_samples

from mmentropy.evaluation import BoxLocalizationMetric, ErrorAnalysisMetric, save_metrics
from mmentropy.ops.localizing.errors import KINDS

SIZE = 56


def read_csv(path: Path) -> list[dict]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_correct_agrees_with_the_box_metric():
    """What is correct at a threshold is Top-1 localisation at that threshold; the rest is shared out."""
    samples = make_samples(40)
    for contours in ('all', 'largest'):
        errors = evaluate(ErrorAnalysisMetric(0.4, contours=contours, eval_size=SIZE), samples)
        boxes = evaluate(BoxLocalizationMetric(threshold=0.4, contours=contours, eval_size=SIZE), samples)
        assert errors['wsol/error_correct'] == pytest.approx(boxes['wsol/Top1-Loc@fixed'], abs=0.01)
        assert sum(errors[f'wsol/error_{kind}'] for kind in KINDS) == pytest.approx(100, abs=0.05)
        wrong = np.mean([int(s['pred_label']) != int(s['gt_label']) for s in samples])
        missed = errors['wsol/error_wrong_class'] + errors['wsol/error_wrong_class_and_box']
        assert missed == pytest.approx(100 * wrong, abs=0.02)
        in_place = errors['wsol/error_wrong_class'] + errors['wsol/error_correct']
        assert in_place == pytest.approx(boxes['wsol/GT-known@fixed'], abs=0.02)
        assert len([kind for kind in KINDS if errors[f'wsol/error_{kind}'] > 0]) >= 4


def test_tables(tmp_path):
    samples = make_samples(30)
    metric = ErrorAnalysisMetric(0.4, out_dir=tmp_path / 'errors', eval_size=SIZE)
    metric.dataset_meta = {'classes': [f'class {i}' for i in range(8)]}
    results = evaluate(metric, samples)
    rows = read_csv(tmp_path / 'errors' / 'errors.csv')
    assert [row['image'] for row in rows] == [s['img_path'] for s in samples]
    assert [int(row['label']) for row in rows] == [int(s['gt_label']) for s in samples]
    assert all(
        (row['kind'] == 'correct') == (float(row['iou']) >= 0.5 and row['label'] == row['predicted']) for row in rows
    )
    for name, key in (('class', 'label'), ('size', 'size_bin')):
        table = read_csv(tmp_path / 'errors' / f'errors_by_{name}.csv')
        assert sum(int(row['images']) for row in table) == 30
        for row in table:
            group = [r for r in rows if (f'class {r[key]}' if name == 'class' else r[key]) == row['group']]
            assert len(group) == int(row['images'])
            for kind in KINDS:
                share = 100 * sum(r['kind'] == kind for r in group) / len(group)
                assert float(row[kind]) == pytest.approx(share, abs=0.01)
    for kind in KINDS:
        assert results[f'wsol/error_{kind}'] == pytest.approx(100 * sum(r['kind'] == kind for r in rows) / 30, abs=0.01)
    picture = cv2.imread(str(tmp_path / 'errors' / 'errors.png'))
    assert picture.std() > 20  # something is drawn
    assert sorted(p.name for p in (tmp_path / 'errors').iterdir()) == [
        'errors.csv',
        'errors.png',
        'errors_by_class.csv',
        'errors_by_size.csv',
    ]


def test_threshold_of_another_split(tmp_path):
    save_metrics(tmp_path / 'val.json', {'wsol/threshold@50': 0.4})
    samples = make_samples(12)
    given = evaluate(ErrorAnalysisMetric(0.4, eval_size=SIZE), samples)
    assert evaluate(ErrorAnalysisMetric(threshold_from=tmp_path / 'val.json', eval_size=SIZE), samples) == given
    with pytest.raises(ValueError, match='one of threshold and threshold_from'):
        ErrorAnalysisMetric()


def test_without_predictions_no_class_is_wrong():
    samples = [{k: v for k, v in s.items() if not k.startswith('pred')} for s in make_samples(12)]
    results = evaluate(ErrorAnalysisMetric(0.4, eval_size=SIZE), samples)
    assert (results['wsol/error_wrong_class'], results['wsol/error_wrong_class_and_box']) == (0, 0)
