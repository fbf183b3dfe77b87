# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from .hook import LocalizationVisualizationHook
from .panels import ComparisonRow, draw_comparison_grid, draw_localization_panel
from .visualizer import LocalizationVisualizer

__all__ = [
    'ComparisonRow',
    'LocalizationVisualizationHook',
    'LocalizationVisualizer',
    'draw_comparison_grid',
    'draw_localization_panel',
]
