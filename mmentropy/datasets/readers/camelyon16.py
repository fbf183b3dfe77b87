# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""512² patches of CAMELYON16's lymph node slides."""

from __future__ import annotations

from collections.abc import Iterator

from mmentropy.datasets.readers.base import LocalizationDataset
from mmentropy.datasets.readers.parsing import read_rows
from mmentropy.registry import DATASETS


@DATASETS.register_module()
class Camelyon16Patches(LocalizationDataset):
    """Patches of 512×512 pixels with or without metastases: 24 348 training, 8 858 validation and 15 664 test patches.

    ::

        data_root
        ├── splits/{train,val,test}.csv        path,label,mask
        └── whatever directories the paths name

    A label is ``normal`` or ``tumor`` (or 0 and 1). The mask (tumour not zero) is empty for normal patches, which hold
    no object, and may be empty for all rows of the training split. A header row ``path,label,mask`` is allowed.

    >>> from mmentropy.safe_files import write_whole
    >>> write_whole('splits/test.csv', 'a.png,tumor,a_mask.png')
    >>> info = Camelyon16Patches(split='test').get_data_info(0)
    >>> info['img_path'], info['gt_label'], info['mask_paths']
    ('a.png', 1, ['a_mask.png'])
    """

    NAME = 'camelyon16'
    COUNTS = {'train': 24_348, 'val': 8_858, 'test': 15_664}
    LABELS = {'normal': 0, 'tumor': 1, '0': 0, '1': 1}

    def index_files(self) -> list[str]:
        """The split's CSV."""
        return [self.path('splits', f'{self.split}.csv')]

    def class_names(self) -> tuple[str, ...]:
        """Normal and tumor."""
        return 'normal', 'tumor'

    def parse_index(self) -> Iterator[dict]:
        """One entry a row."""
        (file,) = self.index_files()
        rows = read_rows(file, 3, ',', 'path,label,mask', self.hint, self.backend_args, optional=1)
        for line, (path, label, mask) in rows:
            if line == 1 and (path, label, mask) == ('path', 'label', 'mask'):
                continue
            if label not in self.LABELS:
                raise ValueError(f'{file}:{line}: the label must be normal or tumor, found {label!r}')
            entry = dict(img_path=self.path(path), gt_label=self.LABELS[label], row=line)
            if entry['gt_label'] == 0:
                if mask:
                    raise ValueError(f'{file}:{line}: a normal patch has no mask, found {mask!r}')
                entry['mask_paths'] = []
            elif mask:
                entry['mask_paths'] = [self.path(mask)]
            yield entry
