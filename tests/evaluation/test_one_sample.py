# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A set of one image: every figure is defined, and is that of the same image twice."""

from __future__ import annotations

import pytest
from samples import evaluate, make_sample

from mmentropy import evaluation

METRICS = (
    'BoxLocalizationMetric',
    'PixelLocalizationMetric',
    'DiceMetric',
    'EntropyMetric',
    'GridPointingMetric',
    'PartCoverageMetric',
)


@pytest.mark.parametrize('name', METRICS)
@pytest.mark.parametrize('index', range(3))
def test_means_over_one_image_are_means_over_it_twice(name, index):
    metric = getattr(evaluation, name)
    sample = make_sample(index)
    one = evaluate(metric(), [sample])
    two = evaluate(metric(), [sample, dict(sample, sample_id=index + 100)])
    assert one
    # Counts of maps, not figures.
    counts = {key for key in one if key.endswith('_masks')}
    assert {key: one[key] for key in one.keys() - counts} == pytest.approx(
        {key: two[key] for key in two.keys() - counts}, nan_ok=True
    )
