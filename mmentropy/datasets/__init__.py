# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Data sets of scope ``mmentropy``; ``docs/datasets.md`` tells where each comes from."""

from mmentropy import _needs_hosts  # noqa: F401  says what to install, before an import fails
from mmentropy._moved import keep_old_names

from .drawn.partshapes import PartShapes
from .few_samples import FewSamplesSampler
from .readers.base import LocalizationDataset
from .readers.cached_features import CachedFeatures
from .readers.camelyon16 import Camelyon16Patches
from .readers.cub import CUBLocalization
from .readers.flowers import OxfordFlowers102
from .readers.glas import GlaS
from .readers.image_folders import ImageFolders
from .readers.imagenet import ImageNetLocalization
from .readers.mosaic import MosaicLocalization
from .readers.openimages import OpenImages30k
from .readers.tiny_imagenet import TinyImageNetLocalization
from .readers.voc import VOC2012MultiLabel
from .readers.wsol_dataset import WSOLMetadataDataset

keep_old_names(
    'mmentropy.datasets',
    {
        'base': 'mmentropy.datasets.readers.base',
        'browse': 'mmentropy.visualization.browse',
        'camelyon16': 'mmentropy.datasets.readers.camelyon16',
        'check': 'mmentropy.datasets.preparing.check',
        'cub': 'mmentropy.datasets.readers.cub',
        'flowers': 'mmentropy.datasets.readers.flowers',
        'glas': 'mmentropy.datasets.readers.glas',
        'imagenet': 'mmentropy.datasets.readers.imagenet',
        'mat_files': 'mmentropy.datasets.readers.mat_files',
        'mosaic': 'mmentropy.datasets.readers.mosaic',
        'openimages': 'mmentropy.datasets.readers.openimages',
        'parsing': 'mmentropy.datasets.readers.parsing',
        'partshapes': 'mmentropy.datasets.drawn.partshapes',
        'prepare': 'mmentropy.datasets.preparing.prepare',
        'splits': 'mmentropy.datasets.preparing.splits',
        'tiny_imagenet': 'mmentropy.datasets.readers.tiny_imagenet',
        'truths': 'mmentropy.datasets.readers.truths',
        'voc': 'mmentropy.datasets.readers.voc',
        'voc_export': 'mmentropy.datasets.preparing.voc_export',
        'wsol_dataset': 'mmentropy.datasets.readers.wsol_dataset',
        'wsol_metadata': 'mmentropy.datasets.readers.wsol_metadata',
    },
)

__all__ = [
    'CUBLocalization',
    'CachedFeatures',
    'Camelyon16Patches',
    'FewSamplesSampler',
    'GlaS',
    'ImageFolders',
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
