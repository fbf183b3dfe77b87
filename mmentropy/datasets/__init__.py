# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Data sets of scope ``mmentropy``; ``docs/datasets.md`` tells where each comes from."""

from mmentropy import _needs_hosts  # noqa: F401  says what to install, before an import fails

from .base import LocalizationDataset
from .camelyon16 import Camelyon16Patches
from .cub import CUBLocalization
from .flowers import OxfordFlowers102
from .glas import GlaS
from .imagenet import ImageNetLocalization
from .mosaic import MosaicLocalization
from .openimages import OpenImages30k
from .partshapes import PartShapes
from .tiny_imagenet import TinyImageNetLocalization
from .voc import VOC2012MultiLabel
from .wsol_dataset import WSOLMetadataDataset

__all__ = [
    'CUBLocalization',
    'Camelyon16Patches',
    'GlaS',
    'ImageNetLocalization',
    'LocalizationDataset',
    'MosaicLocalization',
    'OpenImages30k',
    'OxfordFlowers102',
    'PartShapes',
    'TinyImageNetLocalization',
    'VOC2012MultiLabel',
    'WSOLMetadataDataset',
]
