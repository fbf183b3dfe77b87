# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""OpenImages30k, the masked set of the WSOL evaluation protocol."""

from __future__ import annotations

from collections.abc import Iterator

from mmentropy.datasets.readers.base import LocalizationDataset
from mmentropy.datasets.readers.wsol_dataset import load_metadata, metadata_entries, metadata_files
from mmentropy.registry import DATASETS


@DATASETS.register_module()
class OpenImages30k(LocalizationDataset):
    """29 819 training, 2 500 validation and 5 000 test images of 100 classes, with instance masks and ignore regions.

    ::

        data_root
        ├── metadata/{train,val,test}/*.txt          the four files of the public WSOL metadata
        ├── train/<class>/<image>.jpg
        ├── {val,test}/<class>/<image>.jpg
        └── {val,test}/<class>/<image>_m<class>_<n>.png, <image>_ignore.png

    The ignore file stands in the first row of its image only; masks are of another size than their images, so read them
    with ``LoadLocalizationMasks(size=(224, 224))``, as the protocol does. The training split has no masks.

    >>> OpenImages30k('data/openimages', 'val', lazy_init=True).index_files()[0]
    'data/openimages/metadata/val/image_ids.txt'
    """

    NAME = 'openimages30k'
    COUNTS = {'train': 29_819, 'val': 2_500, 'test': 5_000}
    NUM_CLASSES = 100
    MASKS_OF_IMAGE_SIZE = False

    @property
    def _metadata(self) -> str:
        return self.path('metadata', self.split)

    def index_files(self) -> list[str]:
        """The four files of the split."""
        return metadata_files(self._metadata)

    def class_names(self) -> list[str]:
        """OpenImages' codes of the classes, the directory of each label's images."""
        names: dict[int, str] = {}
        for image, label in load_metadata(self._metadata, self.hint).labels.items():
            parts = image.split('/')
            if len(parts) != 3 or names.setdefault(label, parts[1]) != parts[1]:
                raise ValueError(f'{self.index_files()[1]}: {image!r} of label {label} is not in one directory a class')
        return [names.get(label, f'class_{label}') for label in range(self.NUM_CLASSES)]

    def parse_index(self) -> Iterator[dict]:
        """One entry an image, in the order of ``image_ids.txt``."""
        return metadata_entries(load_metadata(self._metadata, self.hint), self.data_root, self.data_root)
