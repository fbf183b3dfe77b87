# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Transforms of scope ``mmentropy``."""

from .hide_and_seek import HideAndSeek
from .loading import LoadLocalizationMasks
from .packing import PackLocalizationInputs
from .seg_map import MaskToSegMap

__all__ = ['HideAndSeek', 'LoadLocalizationMasks', 'MaskToSegMap', 'PackLocalizationInputs']
