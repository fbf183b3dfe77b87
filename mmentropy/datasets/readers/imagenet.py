# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""ILSVRC 2012 (ImageNet) with its CLS-LOC boxes; ImageNetV2 as validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mmentropy.datasets.readers.base import LocalizationDataset
from mmentropy.datasets.readers.parsing import first_names, read_rows, read_text, read_voc_xml
from mmentropy.datasets.readers.wsol_dataset import load_metadata, metadata_entries, metadata_files
from mmentropy.registry import DATASETS


@DATASETS.register_module()
class ImageNetLocalization(LocalizationDataset):
    """ILSVRC 2012 CLS-LOC: 1 281 167 training images, the 50 000 validation images as ``test``, ImageNetV2 as ``val``.

    ::

        data_root
        ├── LOC_synset_mapping.txt                          wnid names, 1 000 rows; their order is the labels'
        ├── ILSVRC/ImageSets/CLS-LOC/train_cls.txt          n01440764/n01440764_10026 1
        ├── ILSVRC/ImageSets/CLS-LOC/train_loc.txt          the same, of the 544 546 images with boxes
        ├── ILSVRC/ImageSets/CLS-LOC/val.txt                ILSVRC2012_val_00000001 1
        ├── ILSVRC/Annotations/CLS-LOC/train/<wnid>/*.xml   optional
        ├── ILSVRC/Annotations/CLS-LOC/val/*.xml            label and boxes of split ``test``, 80 477 in all
        ├── ILSVRC/Data/CLS-LOC/{train/<wnid>,val}/*.JPEG
        ├── val2/<label>/<n>.jpeg                           split ``val``: ImageNetV2, 10 000 images, 18 532 boxes
        └── metadata/val/*.txt                              the four files of the public WSOL metadata, split ``val``

    Boxes are as the XML has them. Some training images are CMYK JPEGs and one is a PNG named .JPEG; OpenCV reads them.

    Args:
        data_root: see the tree.
        split: ``train``, ``val`` (ImageNetV2) or ``test`` (ILSVRC's validation images).
        train_boxes: keep the training images that have boxes only, and read each XML when its image is loaded.
        **kwargs: of :class:`LocalizationDataset`.

    >>> dataset = ImageNetLocalization('data/ilsvrc', 'train', train_boxes=True, lazy_init=True)
    >>> dataset.expected_count()
    544546
    """

    NAME = 'ilsvrc'
    COUNTS = {'train': 1_281_167, 'val': 10_000, 'test': 50_000}
    LISTS = 'ILSVRC/ImageSets/CLS-LOC'
    XMLS = 'ILSVRC/Annotations/CLS-LOC'
    IMAGES = 'ILSVRC/Data/CLS-LOC'

    def __init__(self, data_root: str = '', split: str = 'train', *, train_boxes: bool = False, **kwargs: Any) -> None:
        self.train_boxes = train_boxes
        super().__init__(data_root, split, **kwargs)

    def expected_count(self) -> int:
        """Of the split, or of the training images with boxes."""
        return 544_546 if self.split == 'train' and self.train_boxes else self.COUNTS[self.split]

    @property
    def _list(self) -> str:
        name = 'val' if self.split == 'test' else 'train_loc' if self.train_boxes else 'train_cls'
        return self.path(self.LISTS, f'{name}.txt')

    def index_files(self) -> list[str]:
        """The split's list and the class file."""
        if self.split == 'val':
            return [*metadata_files(self.path('metadata', 'val')), self.path('LOC_synset_mapping.txt')]
        return [self._list, self.path('LOC_synset_mapping.txt')]

    def class_names(self) -> list[str]:
        """The wnids of ``LOC_synset_mapping.txt``."""
        file = self.path('LOC_synset_mapping.txt')
        rows = read_text(file, self.hint, self.backend_args).splitlines()
        names = [row.split()[0] for row in rows if row.strip()]
        if not names or len(set(names)) < len(names):
            raise ValueError(f'{file} must hold one wnid and its names a row, each wnid once')
        return names

    def readable_names(self) -> list[str]:
        """The first name behind each wnid; the wnid where there is none."""
        rows = read_text(self.path('LOC_synset_mapping.txt'), self.hint, self.backend_args).splitlines()
        words = dict(row.strip().partition(' ')[::2] for row in rows if row.strip())
        return first_names(self.class_names(), words)

    def parse_index(self) -> Iterator[dict]:
        """One entry a row of the list; ``test`` reads the XML files."""
        if self.split == 'val':
            yield from metadata_entries(load_metadata(self.path('metadata', 'val'), self.hint), self.data_root)
            return
        labels = {wnid: i for i, wnid in enumerate(self.class_names())}
        file, split = self._list, 'val' if self.split == 'test' else 'train'
        images = self.path(self.IMAGES, split)
        for line, (name, _) in read_rows(file, 2, None, 'image number', self.hint, self.backend_args):
            entry = dict(img_path=f'{images}/{name}.JPEG', row=line)
            if split == 'train':
                wnid = name.split('/', 1)[0]
                if self.train_boxes:
                    entry['xml'] = self.path(self.XMLS, split, f'{name}.xml')
            else:
                xml = self.path(self.XMLS, split, f'{name}.xml')
                _, objects = read_voc_xml(xml, self.hint, self.backend_args)
                names = {one.name for one in objects}
                if len(names) != 1:
                    raise ValueError(f'{xml}: objects of exactly one class are expected, found {sorted(names)}')
                wnid = objects[0].name
                entry['gt_bboxes'] = [one.box for one in objects]
            if wnid not in labels:
                raise ValueError(f'{file}:{line}: the class {wnid!r} is not in LOC_synset_mapping.txt')
            entry['gt_label'] = labels[wnid]
            yield entry

    def get_data_info(self, idx: int) -> dict:
        """The entry; with ``train_boxes`` the boxes are read here."""
        info = super().get_data_info(idx)
        if 'xml' in info:
            _, objects = read_voc_xml(info.pop('xml'), self.hint, self.backend_args)
            info['gt_bboxes'] = np.array([one.box for one in objects], dtype=np.float32).reshape(-1, 4)
        return info

    def cache_key(self) -> tuple:
        """The option that changes the entries."""
        return (self.train_boxes,)
