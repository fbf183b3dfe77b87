# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from mmentropy import _needs_hosts  # noqa: F401  says what to install, before an import fails
from mmentropy._moved import keep_old_names

from .hook import LocalizationVisualizationHook
from .panels import ComparisonRow, draw_comparison_grid, draw_localization_panel
from .report_hook import ReportHook
from .visualizer import LocalizationVisualizer

keep_old_names(
    'mmentropy.visualization',
    {
        'sweep_plot': 'mmentropy.experiments.sweep_plot',
        'tables': 'mmentropy.experiments.tables',
    },
)

__all__ = [
    'ComparisonRow',
    'LocalizationVisualizationHook',
    'LocalizationVisualizer',
    'ReportHook',
    'draw_comparison_grid',
    'draw_localization_panel',
]
