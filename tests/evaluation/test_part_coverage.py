# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Shares of a map on part, object and background."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from samples import evaluate, make_sample

from mmentropy.evaluation import PartCoverageMetric


def test_part_coverage_is_the_mean_of_shares():
    def sample(cam: list) -> dict:
        masks = {'gt_mask': np.array([[1, 1], [0, 1]], np.uint8), 'part_mask': np.array([[1, 0], [0, 0]], np.uint8)}
        return {'cams': torch.tensor([cam]), 'cam_labels': [2], 'gt_label': [2], **masks}

    samples = [sample([[4.0, -9.0], [1.0, 3.0]]), sample([[1.0, 1.0], [1.0, 1.0]]), sample([[-1.0, 0.0], [0.0, 0.0]])]
    results = evaluate(PartCoverageMetric(), samples)
    expected = {'part': (0.5 + 0.25) / 2, 'object': (0.375 + 0.5) / 2, 'background': (0.125 + 0.25) / 2}
    for region, share in expected.items():
        assert results[f'wsol/mass_{region}'] == pytest.approx(100 * share, abs=1e-6)
    assert [results[f'wsol/area_{r}'] for r in expected] == pytest.approx([25, 50, 25], abs=1e-6)
    assert results['wsol/mass_empty'] == 1


def test_part_coverage_reads_masks_of_one_shape():
    sample = make_sample(0)
    with pytest.raises(ValueError, match=r'image_0\.jpg: part_mask \(3, 3\) and gt_mask'):
        PartCoverageMetric().process(None, [sample | {'part_mask': np.zeros((3, 3))}])
    with pytest.raises(KeyError, match="has no 'part_mask'"):
        PartCoverageMetric().process(None, [sample | {'part_mask': None}])
    with pytest.raises(ValueError, match="'certainty' is never positive"):
        PartCoverageMetric(localizer='certainty')
