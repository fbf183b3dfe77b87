# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Tiny ImageNet, or a part of its classes in the same layout, with its boxes."""

from __future__ import annotations

from collections.abc import Iterator

from mmentropy.datasets.readers.base import LocalizationDataset
from mmentropy.datasets.readers.parsing import file_exists, first_names, read_rows, to_box
from mmentropy.registry import DATASETS


@DATASETS.register_module()
class TinyImageNetLocalization(LocalizationDataset):
    """Tiny ImageNet (200 classes, 64×64): 500 training and 50 validation images a class, one box each.

    ::

        data_root
        ├── wnids.txt                              the classes; their order is the order of the labels
        ├── words.txt                              wnid <tab> names; shown in pictures, not needed
        ├── train/<wnid>/<wnid>_boxes.txt          file <tab> x0 <tab> y0 <tab> x1 <tab> y1
        ├── train/<wnid>/images/<wnid>_<n>.JPEG
        ├── val/val_annotations.txt                file <tab> wnid <tab> x0 <tab> y0 <tab> x1 <tab> y1
        └── val/images/val_<n>.JPEG

    The boxes are **inclusive pixel coordinates** (0 to 63): a box may be one pixel wide with x0 = x1. They are passed
    on as the set gives them. The official ``test`` split has neither labels nor boxes and is not read.

    >>> from mmentropy.safe_files import write_whole
    >>> write_whole('wnids.txt', 'n01641577')
    >>> write_whole('val/val_annotations.txt', 'val_0.JPEG\\tn01641577\\t0\\t32\\t44\\t62')
    >>> info = TinyImageNetLocalization(split='val').get_data_info(0)
    >>> info['gt_label'], info['gt_bboxes'].tolist()
    (0, [[0.0, 32.0, 44.0, 62.0]])
    """

    NAME = 'tinyimagenet'
    SPLITS = ('train', 'val')
    COUNTS = {'train': 100_000, 'val': 10_000}
    BOX_SLACK = 0.0

    def class_names(self) -> list[str]:
        """The wnids of ``wnids.txt``."""
        rows = read_rows(self.path('wnids.txt'), 1, None, 'one wnid', self.hint, self.backend_args)
        return [fields[0] for _, fields in rows]

    def readable_names(self) -> list[str]:
        """The first name of each wnid in ``words.txt``; without that file the wnids."""
        codes = self.class_names()
        words = self.path('words.txt')
        if not file_exists(words, self.backend_args):
            return codes
        rows = read_rows(words, 2, '\t', 'wnid, names between tabs', self.hint, self.backend_args)
        return first_names(codes, {wnid: names for _, (wnid, names) in rows})

    def expected_count(self) -> int:
        """500 (train) or 50 (val) images a class, also for a part of the classes."""
        return self.COUNTS[self.split] // 200 * len(self.class_names())

    def index_files(self) -> list[str]:
        """``wnids.txt`` and the box file(s) of the split."""
        if self.split == 'train':
            return [self.path('wnids.txt'), *(self._boxes(wnid) for wnid in self.class_names())]
        return [self.path('val', 'val_annotations.txt'), self.path('wnids.txt')]

    def _boxes(self, wnid: str) -> str:
        return self.path('train', wnid, f'{wnid}_boxes.txt')

    def parse_index(self) -> Iterator[dict]:
        """One entry a row of the box files."""
        labels = {wnid: i for i, wnid in enumerate(self.class_names())}
        if self.split == 'train':
            for wnid, label in labels.items():
                file = self._boxes(wnid)
                layout = 'file, x0, y0, x1, y1 between tabs'
                for line, (name, *box) in read_rows(file, 5, '\t', layout, self.hint, self.backend_args):
                    path = self.path('train', wnid, 'images', name)
                    yield self._entry(path, label, box, file, line)
            return
        file = self.path('val', 'val_annotations.txt')
        layout = 'file, wnid, x0, y0, x1, y1 between tabs'
        for line, (name, wnid, *box) in read_rows(file, 6, '\t', layout, self.hint, self.backend_args):
            if wnid not in labels:
                raise ValueError(f'{file}:{line}: the class {wnid!r} is not in {self.path("wnids.txt")}')
            yield self._entry(self.path('val', 'images', name), labels[wnid], box, file, line)

    @staticmethod
    def _entry(path: str, label: int, box: list[str], file: str, line: int) -> dict:
        box = to_box(box, f'{file}:{line}')
        return dict(img_path=path, gt_label=label, gt_bboxes=[box], row=line, source=file)
