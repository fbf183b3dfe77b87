# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Oxford 102 flowers with their segmentations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mmentropy.datasets.readers.base import LocalizationDataset
from mmentropy.datasets.readers.mat_files import read_mat
from mmentropy.datasets.readers.parsing import read_bytes
from mmentropy.registry import DATASETS


@DATASETS.register_module()
class OxfordFlowers102(LocalizationDataset):
    """1 020 training, 1 020 validation and 6 149 test images of 102 flowers, all with a segmentation.

    ::

        data_root
        ├── imagelabels.mat                 labels (1, 8189), from 1
        ├── setid.mat                       trnid, valid, tstid: numbers of the images, from 1
        ├── jpg/image_<n>.jpg               n with five digits
        └── segmim/segmim_<n>.jpg           the flower on blue (0, 0, 254); a JPEG, so blue is only about that

    Labels are counted from 0 here.

    >>> dataset = OxfordFlowers102('data/flowers102', 'test', lazy_init=True)
    >>> dataset.index_files(), dataset.class_names()[:2]
    (['data/flowers102/setid.mat', 'data/flowers102/imagelabels.mat'], ['flower_001', 'flower_002'])
    """

    NAME = 'flowers102'
    COUNTS = {'train': 1020, 'val': 1020, 'test': 6149}
    MASK_FORMAT = 'not_blue'
    NUM_CLASSES = 102
    KEYS = {'train': 'trnid', 'val': 'valid', 'test': 'tstid'}

    def index_files(self) -> list[str]:
        """The two Matlab files."""
        return [self.path('setid.mat'), self.path('imagelabels.mat')]

    def class_names(self) -> list[str]:
        """The set has no names in its files: ``flower_001`` …, as its labels count."""
        return [f'flower_{label:03d}' for label in range(1, self.NUM_CLASSES + 1)]

    def _array(self, file: str, key: str) -> np.ndarray:
        data = read_bytes(file, self.hint, self.backend_args)
        try:
            table = read_mat(data)
        except ValueError as error:
            raise ValueError(f'{file} cannot be read as a Matlab file ({error}); fetch it again') from None
        if key not in table:
            raise ValueError(
                f'{file} has no variable {key!r}, found {sorted(k for k in table if not k.startswith("_"))}'
            )
        values = np.asarray(table[key])
        if values.dtype.kind not in 'iuf' or not np.array_equal(values, np.trunc(values)):
            raise ValueError(f'{file}: {key!r} must hold whole numbers, found {values.dtype}; fetch it again')
        return values.ravel().astype(np.int64)

    def parse_index(self) -> Iterator[dict]:
        """One entry a number of the split, in the file's order."""
        ids_file, labels_file = self.index_files()
        ids, labels = self._array(ids_file, self.KEYS[self.split]), self._array(labels_file, 'labels')
        for row, number in enumerate(ids.tolist(), start=1):
            if not 1 <= number <= len(labels):
                where = f'{ids_file}, {self.KEYS[self.split]} {row}'
                raise ValueError(f'{where}: image {number} is not in 1 to {len(labels)}')
            label = int(labels[number - 1])
            if not 1 <= label <= self.NUM_CLASSES:
                raise ValueError(f'{labels_file}, entry {number}: label {label} is not in 1 to {self.NUM_CLASSES}')
            yield dict(
                img_path=self.path('jpg', f'image_{number:05d}.jpg'),
                mask_paths=[self.path('segmim', f'segmim_{number:05d}.jpg')],
                gt_label=label - 1,
                row=row,
            )
