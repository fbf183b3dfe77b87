# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The visualizer and the report that several test modules look at."""

from __future__ import annotations

import pytest
from mmengine.registry import VISUALIZERS, DefaultScope
from report_samples import EVIL, sample

from mmentropy.visualization.report_data import ReportData


@pytest.fixture
def make(tmp_path):
    def build(**kwargs):
        # A name of its own: mmengine keeps visualizers by name for the life of the process.
        common = {'type': 'mmentropy.LocalizationVisualizer', 'name': str(tmp_path), 'save_dir': str(tmp_path)}
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            return VISUALIZERS.build({**common, 'tile': 48, **kwargs})

    return build


@pytest.fixture
def data() -> ReportData:
    samples = [sample(i) for i in range(12)]
    samples[3].name = EVIL
    return ReportData(samples, ('cat', 'dog', EVIL), {'wsol/GT-known': 51.25, 'x': float('nan')}, 'a = 1 # ' + EVIL)
