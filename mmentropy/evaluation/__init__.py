# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Metrics: they keep counts, never maps."""

from mmentropy import _needs_hosts  # noqa: F401  says what to install, before an import fails
from mmentropy._moved import keep_old_names

from .box_localization import BoxLocalizationMetric
from .dice import DiceMetric
from .entropy_metric import EntropyMetric
from .error_analysis import ErrorAnalysisMetric
from .faithfulness_metric import FaithfulnessMetric
from .grid_pointing import GridPointingMetric
from .imagenet_errors import ImageNetErrorMetric
from .part_coverage import PartCoverageMetric
from .pixel_localization import PixelLocalizationMetric
from .segmentor_dice import SegmentorDiceMetric
from .thresholds import load_thresholds, save_metrics, use_thresholds_from

keep_old_names(
    'mmentropy.evaluation',
    {
        'entropy': 'mmentropy.evaluation.entropy_metric',
    },
)

__all__ = [
    'BoxLocalizationMetric',
    'DiceMetric',
    'EntropyMetric',
    'ErrorAnalysisMetric',
    'FaithfulnessMetric',
    'GridPointingMetric',
    'ImageNetErrorMetric',
    'PartCoverageMetric',
    'PixelLocalizationMetric',
    'SegmentorDiceMetric',
    'load_thresholds',
    'save_metrics',
    'use_thresholds_from',
]
