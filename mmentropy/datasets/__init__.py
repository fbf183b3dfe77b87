# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Data sets of scope ``mmentropy``; ``docs/datasets.md`` tells where each comes from."""

from .base import LocalizationDataset
from .cub import CUBLocalization
from .mosaic import MosaicLocalization
from .partshapes import PartShapes
from .tiny_imagenet import TinyImageNetLocalization
from .wsol_dataset import WSOLMetadataDataset

__all__ = [
    'CUBLocalization',
    'LocalizationDataset',
    'MosaicLocalization',
    'PartShapes',
    'TinyImageNetLocalization',
    'WSOLMetadataDataset',
]
