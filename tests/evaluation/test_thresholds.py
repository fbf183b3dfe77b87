# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Thresholds that travel from one split's figures to another's metric."""

from __future__ import annotations

import json

import pytest

from mmentropy.evaluation import load_thresholds, save_metrics, use_thresholds_from
from mmentropy.evaluation.thresholds import given_thresholds


def test_round_trip_and_prefixes(tmp_path):
    path = tmp_path / 'new' / 'val.json'
    save_metrics(
        path,
        {
            'wsol/MaxBoxAccV2': 50.0,
            'wsol/threshold@50': 0.2,
            'wsol/threshold@50@fixed': 0.9,
            'entropy/threshold@50': 0.3,
            'accuracy/top1': 80.0,
        },
    )
    assert load_thresholds(path) == {'50': 0.2}
    assert load_thresholds(path, 'entropy') == {'50': 0.3}
    assert [p.name for p in path.parent.iterdir()] == ['val.json']


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"wsol/threshold@50": ', 'is not JSON'),
        ('[1, 2]', 'holds a JSON list, expected an object'),
        ('{"wsol/MaxBoxAccV2": 50}', "holds no 'wsol/threshold@' entry"),
        ('{"wsol/threshold@50": "high"}', "threshold@50 in .* must be a number from 0 to below 1, found 'high'"),
        ('{"wsol/threshold@50": NaN}', 'must be a number from 0 to below 1'),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    path = tmp_path / 'val.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_thresholds(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'val\.json does not exist'):
        load_thresholds(tmp_path / 'val.json')


def test_names_the_other_split_did_not_choose_for_are_left_out(tmp_path):
    path = tmp_path / 'val.json'
    path.write_text(json.dumps({'wsol/threshold@50': 0.2, 'wsol/threshold@IoU': 0.4}))
    assert given_thresholds(('50', 'Top1-Loc'), 'oracle', path, 'wsol') == {'transfer': {'50': 0.2}}
    both = given_thresholds(('50', 'Top1-Loc'), 0.15, path, 'wsol')
    assert both == {'fixed': {'50': 0.15, 'Top1-Loc': 0.15}, 'transfer': {'50': 0.2}}
    with pytest.raises(ValueError, match='none of them for'):
        given_thresholds(('70',), 'oracle', path, 'wsol')


def test_evaluators_of_configs():
    box, other = {'type': 'mmentropy.BoxLocalizationMetric'}, {'type': 'Accuracy'}
    assert use_thresholds_from([box, other], 'val.json') == [
        {'type': 'mmentropy.BoxLocalizationMetric', 'threshold_from': 'val.json'},
        {'type': 'Accuracy'},
    ]
    assert use_thresholds_from({'type': 'BoxLocalizationMetric'}, 'v.json')['threshold_from'] == 'v.json'
    with pytest.raises(ValueError, match='no metric of the evaluator chooses a threshold'):
        use_thresholds_from([other], 'val.json')
