# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The report's file brings everything back."""

from __future__ import annotations

import numpy as np
import pytest
from report_samples import sample

from mmentropy.visualization.report_data import ReportData, Sample


def test_file_brings_everything_back(tmp_path, data):
    data.samples[5] = sample(5, thumb=None, cam=None, entropy_map=None, score=float('nan'))
    data.save(tmp_path / 'report.npz')
    back = ReportData.load(tmp_path / 'report.npz')
    assert (back.classes, back.config) == (data.classes, data.config)
    assert back.samples[5].thumb is None
    assert np.isnan(back.samples[5].score)
    for a, b in zip(back.samples, data.samples):
        assert (a.name, a.label, a.prediction, a.thumb) == (b.name, b.label, b.prediction, b.thumb)
        np.testing.assert_array_equal(a.boxes, b.boxes)
        np.testing.assert_allclose(a.best_iou, b.best_iou, atol=1e-3)
        assert (a.cam is None) == (b.cam is None)
    edge = ReportData([Sample('x', best_iou=np.array([0.7, 0.69999, 0.3, 0.5, 0.49999, 0.29]))])
    edge.save(tmp_path / 'edge.npz')
    kept = ReportData.load(tmp_path / 'edge.npz').samples[0].best_iou
    for delta in (0.29, 0.3, 0.5, 0.7):
        np.testing.assert_array_equal(kept >= delta, edge.samples[0].best_iou >= delta)
    (tmp_path / 'other.npz').write_text('no')
    with pytest.raises(ValueError, match='not the data of a report'):
        ReportData.load(tmp_path / 'other.npz')
    with pytest.raises(FileNotFoundError, match='ReportHook'):
        ReportData.load(tmp_path / 'absent.npz')
