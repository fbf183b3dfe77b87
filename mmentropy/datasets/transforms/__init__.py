# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Transforms of scope ``mmentropy``."""

from .loading import LoadLocalizationMasks
from .packing import PackLocalizationInputs

__all__ = ['LoadLocalizationMasks', 'PackLocalizationInputs']
