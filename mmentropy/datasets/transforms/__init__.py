# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Transforms of scope ``mmentropy``."""

from mmentropy import _needs_hosts  # noqa: F401  says what to install, before an import fails
from mmentropy._moved import keep_old_names

from .hide_and_seek import HideAndSeek
from .label_maps import LoadLabelMap
from .packing import PackLocalizationInputs
from .sample_loading import LoadLocalizationMasks
from .seg_map import MaskToSegMap

keep_old_names(
    'mmentropy.datasets.transforms',
    {
        'loading': 'mmentropy.datasets.transforms.sample_loading',
    },
)

__all__ = ['HideAndSeek', 'LoadLabelMap', 'LoadLocalizationMasks', 'MaskToSegMap', 'PackLocalizationInputs']
