# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Feature erasers and guides: training-time companions of any backbone."""

from .acol import ACoL
from .adl import ADL
from .feature_eraser import FeatureEraser
from .rdap import RDAP
from .spg import SPG

__all__ = ['ADL', 'RDAP', 'SPG', 'ACoL', 'FeatureEraser']
