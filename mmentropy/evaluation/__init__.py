# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Metrics: they keep counts, never maps."""

from mmentropy._lazy import names_on_demand
from mmentropy._moved import keep_old_names
from mmentropy.hosts import require_hosts

require_hosts()  # says what to install, before an import fails

keep_old_names(
    'mmentropy.evaluation',
    {
        'entropy': 'mmentropy.evaluation.entropy_metric',
    },
)

_MODULES = {
    'BoxLocalizationMetric': 'box_localization',
    'DiceMetric': 'dice',
    'EntropyMetric': 'entropy_metric',
    'ErrorAnalysisMetric': 'error_analysis',
    'FaithfulnessMetric': 'faithfulness_metric',
    'GridPointingMetric': 'grid_pointing',
    'ImageNetErrorMetric': 'imagenet_errors',
    'PartCoverageMetric': 'part_coverage',
    'PixelLocalizationMetric': 'pixel_localization',
    'SegmentorDiceMetric': 'segmentor_dice',
    'load_thresholds': 'thresholds',
    'save_metrics': 'thresholds',
    'use_thresholds_from': 'thresholds',
}

__all__ = list(_MODULES)
__getattr__ = names_on_demand(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
