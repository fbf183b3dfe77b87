# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from mmentropy._moved import keep_old_names

from .localizer import Localization, Localizer

keep_old_names(
    'mmentropy.apis',
    {
        'analysis': 'mmentropy.experiments.analysis',
        'comparison': 'mmentropy.experiments.comparison',
        'loading': 'mmentropy.engine.model_loading',
        'maps': 'mmentropy.experiments.map_evaluation',
        'methods_grid': 'mmentropy.experiments.methods_grid',
        'sweep': 'mmentropy.experiments.sweep',
    },
)

__all__ = ['Localization', 'Localizer']
