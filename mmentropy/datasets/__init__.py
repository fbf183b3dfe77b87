# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Data sets of scope ``mmentropy``; ``docs/datasets.md`` tells where each comes from."""

from mmentropy._lazy import names_on_demand
from mmentropy._moved import keep_old_names
from mmentropy.hosts import require_hosts

require_hosts()  # says what to install, before an import fails

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

_MODULES = {
    'CUBLocalization': 'readers.cub',
    'CachedFeatures': 'readers.cached_features',
    'Camelyon16Patches': 'readers.camelyon16',
    'FewSamplesSampler': 'few_samples',
    'GlaS': 'readers.glas',
    'ImageFolders': 'readers.image_folders',
    'ImageNetLocalization': 'readers.imagenet',
    'LocalizationDataset': 'readers.base',
    'MosaicLocalization': 'readers.mosaic',
    'OpenImages30k': 'readers.openimages',
    'OxfordFlowers102': 'readers.flowers',
    'PartShapes': 'drawn.partshapes',
    'SourceImages': 'readers.source_images',
    'SourceMasks': 'readers.source_masks',
    'TinyImageNetLocalization': 'readers.tiny_imagenet',
    'VOC2012MultiLabel': 'readers.voc',
    'WSOLMetadataDataset': 'readers.wsol_dataset',
}

__all__ = list(_MODULES)
__getattr__ = names_on_demand(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
