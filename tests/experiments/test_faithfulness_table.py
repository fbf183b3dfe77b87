# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Methods × figures: rows that resume and are shared out, and the table of them."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from torch import nn

from mmentropy.engine.model_loading import LoadedModel
from mmentropy.experiments.analysis import Photo
from mmentropy.experiments.faithfulness_table import (
    Judgement,
    Rows,
    Truth,
    interval,
    judge,
    method_explainer,
    parse_method,
    photo_batches,
    summarize_rows,
    summary_markdown,
    write_summary,
)
from mmentropy.explain import build_explainer
from mmentropy.ops.faithfulness.figures import FIGURES, faithfulness_figures
from mmentropy.ops.mapping.scaling import draw_maps, normalize_map

OPTIONS = dict(steps=4, road_fractions=(0.5,), sensitivity=dict(samples=1), randomization=dict(stages=1))
METHODS = ['cam', 'grad_cam', 'cam:grid=half_pixel']


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).eval()
    with torch.no_grad():
        model[-1].weight.mul_(5)
    return model


def images(n: int) -> list[Photo]:
    rng = np.random.default_rng(0)
    return [
        Photo(
            rng.integers(0, 255, (20, 24, 3)).astype(np.uint8),
            np.array([i % 3]),
            np.array([[3, 2, 14, 17]], np.float32),
            np.array([i % 3]),
            f'image {i}',
        )
        for i in range(n)
    ]


def batches(model, n=6, size=2):
    return photo_batches(LoadedModel(model, size=(16, 16)), images(n), size)


def judged(folder, model, metrics=('deletion', 'sparseness', 'pointing'), methods=METHODS, parts=1, only=None, n=6):
    for part in range(parts) if only is None else only:
        rows = Rows(folder, dict(metrics=metrics), (part, parts))
        rows.judge(methods, model, batches(model, n), Judgement(tuple(metrics), options=dict(steps=4)))
    return Rows(folder, dict(metrics=metrics)).read()


def test_a_row_is_the_figures_of_its_map():
    model = network()
    ((truths, make),) = batches(model, 2)
    inputs = make()
    judgement = Judgement(tuple(FIGURES), target='label', options=OPTIONS)
    rows = judge(method_explainer('layer_cam', model), inputs, truths, judgement)
    found = build_explainer('layer_cam', model)(inputs, torch.tensor([[0], [1]]))
    drawn = torch.from_numpy(normalize_map(draw_maps(found.maps[:, 0].numpy(), (16, 16), found.grid), 'max'))
    names = ['average_drop', 'deletion', 'insertion', 'sparseness', 'complexity']
    wanted = faithfulness_figures(model, inputs, drawn, torch.tensor([0, 1]), names, steps=4)
    for i, row in enumerate(rows):
        assert list(row) == list(FIGURES)
        for name in names:
            assert row[name] == pytest.approx(wanted[name][i].item(), abs=1e-5)


def test_one_process_is_several(tmp_path):
    model = network()
    alone, shared = judged(tmp_path / 'a', model), judged(tmp_path / 'b', model, parts=3)
    assert len(list((tmp_path / 'b').glob('rows*.jsonl'))) == 3
    assert alone == shared
    assert {method: len(rows) for method, rows in alone.items()} == dict.fromkeys(METHODS, 6)


def test_a_stopped_run_goes_on_and_judges_new_methods(tmp_path, monkeypatch):
    from mmentropy.experiments import faithfulness_table

    model, calls = network(), []
    whole = judged(tmp_path / 'whole', model)
    judged(tmp_path / 'a', model, methods=METHODS[:2], n=4)
    file = tmp_path / 'a/rows-1of1.jsonl'
    lines = file.read_text().splitlines()
    file.write_text('\n'.join([*lines[:-1], lines[-1][:30]]) + '\n')  # killed in the middle of a line
    monkeypatch.setattr(
        faithfulness_table, 'judge', lambda e, *others: calls.append(type(e).__name__) or judge(e, *others)
    )
    assert judged(tmp_path / 'a', model) == whole
    # Three batches of the new method, the third batch of the others, and the batch that was cut off.
    assert sorted(calls) == sorted(['CAM'] * 3 + ['CAM', 'GradCAM'] + ['GradCAM'])


def test_other_settings_are_refused(tmp_path):
    Rows(tmp_path, dict(metrics=['road'], steps=20))
    assert Rows(tmp_path).read() == {}  # to look at, whatever they are
    with pytest.raises(ValueError, match=r'holds figures of other settings \(steps was 20, now 10\)'):
        Rows(tmp_path, dict(metrics=['road'], steps=10))


def test_images_of_other_sizes_share_no_batch():
    loaded = LoadedModel(network(), size=(64, 96), keep_ratio=True)
    mixed = images(4)
    mixed[1].image = np.zeros((30, 24, 3), np.uint8)
    found = [
        ([truth.name for truth in truths], tuple(make().shape)) for truths, make in photo_batches(loaded, mixed, 2)
    ]
    assert [names for names, _ in found] == [['image 0', 'image 2'], ['image 3'], ['image 1']]
    assert len({shape for _, shape in found}) >= 2


def test_intervals():
    values = [0.2, 0.6, 0.7, 0.9]
    one = interval(values)
    assert one.mean == pytest.approx(0.6)
    assert one.half == pytest.approx(1.96 * np.std(values, ddof=1) / 2)
    by_class = interval(values, [0, 0, 1, 1])
    assert by_class.mean == pytest.approx(0.6)
    spread = np.var([0.2, 0.6], ddof=1) / 2 + np.var([0.7, 0.9], ddof=1) / 2
    assert by_class.half == pytest.approx(1.96 * np.sqrt(spread) / 2)
    assert np.isnan(interval([1.0]).half)


def test_the_table_has_means_units_and_the_best_in_bold(tmp_path):
    rows = {
        'cam': {
            'a': dict(label=0, values=dict(deletion=0.2, complexity=2.0, pointing=1.0)),
            'b': dict(label=1, values=dict(deletion=0.4, complexity=3.0, pointing=0.0)),
            'c': dict(label=1, values=dict(deletion=None, complexity=4.0, pointing=0.0)),
        },
        'grad_cam': {'a': dict(label=0, values=dict(deletion=0.5, complexity=1.0, pointing=1.0))},
    }
    table = summarize_rows(rows, ['cam', 'grad_cam'])
    assert table['cam']['deletion'][::2] == pytest.approx((30, 2))
    assert table['cam']['complexity'].mean == pytest.approx(3)
    assert table['cam']['pointing'].mean == pytest.approx(50)  # over the two classes, not the three images
    text = summary_markdown(table)
    assert '| method | images | deletion % ↓ | complexity nats ↓ | pointing % ↑ |' in text
    assert '| cam | 3 | **30.0 ± 19.6** | 3.00 ± 1.13 |' in text
    assert '**1.00 ± nan**' in text
    paths = write_summary(table, tmp_path / 'table')
    with open(paths[1], newline='') as file:
        read = {(row['method'], row['figure']): float(row['mean']) for row in csv.DictReader(file)}
    assert read['cam', 'deletion'] == pytest.approx(30)
    assert paths[2].read_bytes()[1:4] == b'PNG'


@pytest.mark.parametrize(
    ('text', 'options'),
    [
        ('cam', {}),
        ('cam:grid=half_pixel', {'grid': 'half_pixel'}),
        ('entropy_cam:temperature=0.5,flip=True', {'temperature': 0.5, 'flip': True}),
        ('cam:scales=(1, 1.5),reading=certain+spread', {'scales': (1, 1.5), 'reading': 'certain+spread'}),
    ],
)
def test_methods_are_read(text, options):
    assert parse_method(text) == (text.partition(':')[0], options)


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="'camm': the method 'camm' is none of cam"):
        parse_method('camm')
    with pytest.raises(ValueError, match="options are written key=value, got 'half'"):
        parse_method('cam:half')
    with pytest.raises(ValueError, match=r'cam:colour=1.*colour'):
        method_explainer('cam:colour=1', network())
    with pytest.raises(ValueError, match='target must be predicted or label'):
        Judgement(target='best')
    model = network()
    ((truths, make),) = batches(model, 1)
    with pytest.raises(ValueError, match='image 0 has neither boxes nor a mask, which energy compares'):
        judge(method_explainer('cam', model), make(), [truths[0]._replace(boxes=None)], Judgement(('energy',)))


def test_a_mask_is_the_truth_where_there_is_one():
    model = network()
    ((_truths, make),) = batches(model, 1)
    everywhere = Truth('a', 0, (20, 24), mask=np.ones((20, 24)))
    row = judge(method_explainer('grad_cam', model), make(), [everywhere], Judgement(('pointing', 'energy')))[0]
    assert row['pointing'] == 1
    assert row['energy'] in (1, None)


def test_rows_are_plain_json(tmp_path):
    judged(tmp_path, network(), n=2)
    row = json.loads((tmp_path / 'rows-1of1.jsonl').read_text().splitlines()[0])
    assert set(row) == {'method', 'image', 'label', 'values'}
