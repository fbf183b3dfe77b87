# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The counter gives the metric's figures; the metric's tests are in test_box_localization.py."""

import pytest
from samples import evaluate, make_samples

from mmentropy.evaluation import BoxLocalizationMetric
from mmentropy.evaluation.box_counter import BoxCounter
from mmentropy.evaluation.case_counter import add_counts


@pytest.mark.parametrize(
    'options', [{}, {'contours': 'largest'}, {'threshold': 'auto'}, {'protocol': 'er2023'}, {'prefix': 'mine'}]
)
def test_figures_are_the_metrics(options):
    options = {'eval_size': 32, 'cam_interval': 0.02, **options}
    samples, totals, counter = make_samples(6), {}, BoxCounter(**options)
    for sample in samples:
        add_counts(totals, counter.count(sample))
    figures = {f'{counter.prefix}/{name}': value for name, value in counter.figures(totals).items()}
    assert figures == evaluate(BoxLocalizationMetric(**options), samples)
    assert len(figures) >= 8


def test_errors_are_the_metrics():
    sample = {'img_path': 'a.jpg', 'gt_label': [0]}
    for counter in (BoxCounter(), BoxLocalizationMetric()):
        with pytest.raises(KeyError, match=r"a\.jpg has no 'gt_bboxes', which BoxLocalizationMetric reads"):
            counter.count(sample)
    with pytest.raises(ValueError, match='grid must be one of sample, half_pixel'):
        BoxCounter(grid='elsewhere')
