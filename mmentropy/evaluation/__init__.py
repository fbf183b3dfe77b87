# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Metrics: they keep counts, never maps."""

from .box_localization import BoxLocalizationMetric
from .entropy import EntropyMetric
from .grid_pointing import GridPointingMetric
from .thresholds import load_thresholds, save_metrics, use_thresholds_from

__all__ = [
    'BoxLocalizationMetric',
    'EntropyMetric',
    'GridPointingMetric',
    'load_thresholds',
    'save_metrics',
    'use_thresholds_from',
]
