# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""CUB-200-2011 with boxes and, where they are unpacked, segmentations; the CUBV2 validation split."""

from __future__ import annotations

from collections.abc import Iterator

from mmentropy.datasets.readers.base import LocalizationDataset
from mmentropy.datasets.readers.parsing import read_rows, to_box, to_int
from mmentropy.datasets.readers.wsol_dataset import load_metadata, metadata_entries, metadata_files
from mmentropy.registry import DATASETS


@DATASETS.register_module()
class CUBLocalization(LocalizationDataset):
    """CUB-200-2011 as downloaded: 5 994 training and 5 794 test images of 200 birds, one box each.

    ::

        data_root
        ├── images.txt                   id path
        ├── image_class_labels.txt       id label, from 1
        ├── train_test_split.txt         id 1|0 (1: training)
        ├── bounding_boxes.txt           id x y width height
        ├── classes.txt                  label name
        ├── images/<class>/<name>.jpg    some of them are greyscale
        ├── segmentations/<class>/<name>.png     optional (its own archive); grey, 128 or more is bird
        ├── CUBV2/<class>/<n>.jpg                 split ``val``
        └── metadata/val/*.txt                    the four files of the public WSOL metadata, split ``val``

    A box is x0 = x, y0 = y, x1 = x + width, y1 = y + height, as in the public WSOL metadata (which further clip to the
    image's last pixel). Split ``val`` is CUBV2, 1 000 photographs of the same birds with 3 to 6 a class.

    Args:
        data_root: see the tree.
        split: ``train``, ``val`` or ``test``.
        with_masks: read ``segmentations/`` (not for ``val``, which has none).
        **kwargs: of :class:`LocalizationDataset`.

    >>> CUBLocalization('data/cub', 'val', lazy_init=True).index_files()[-1]
    'data/cub/classes.txt'
    """

    NAME = 'cub'
    COUNTS = {'train': 5994, 'val': 1000, 'test': 5794}
    MASK_FORMAT = 'half'
    INDEX = ('images.txt', 'image_class_labels.txt', 'train_test_split.txt', 'bounding_boxes.txt', 'classes.txt')

    def __init__(self, data_root: str = '', split: str = 'train', *, with_masks: bool = False, **kwargs) -> None:
        self.with_masks = with_masks
        super().__init__(data_root, split, **kwargs)

    def index_files(self) -> list[str]:
        """The five text files, or the four of CUBV2."""
        if self.split == 'val':
            return [*metadata_files(self.path('metadata', 'val')), self.path('classes.txt')]
        return [self.path(name) for name in self.INDEX]

    def _table(self, name: str, columns: int, layout: str) -> dict[str, tuple[int, list[str]]]:
        """id → (line, the other fields)."""
        table: dict[str, tuple[int, list[str]]] = {}
        for line, (key, *rest) in read_rows(self.path(name), columns, None, layout, self.hint, self.backend_args):
            if key in table:
                raise ValueError(f'{self.path(name)}:{line}: id {key} stands already in line {table[key][0]}')
            table[key] = line, rest
        return table

    def class_names(self) -> list[str]:
        """The names of ``classes.txt``, for example ``001.Black_footed_Albatross``."""
        return [name for _, (name,) in self._table('classes.txt', 2, 'label name').values()]

    def parse_index(self) -> Iterator[dict]:
        """One entry an image of the split, in the order of ``images.txt``."""
        if self.split == 'val':
            yield from metadata_entries(load_metadata(self.path('metadata', 'val'), self.hint), self.path('CUBV2'))
            return
        images = self._table('images.txt', 2, 'id path')
        labels = self._table('image_class_labels.txt', 2, 'id label')
        splits = self._table('train_test_split.txt', 2, 'id 1|0')
        boxes = self._table('bounding_boxes.txt', 5, 'id x y width height')
        for name, table in zip(self.INDEX[1:4], (labels, splits, boxes)):
            if lost := table.keys() ^ images.keys():
                one = min(lost)
                other = name if one in images else self.INDEX[0]
                raise ValueError(
                    f'{self.path(other)} has no row for the image id {one}, {len(lost)} ids are in one file only'
                )
        for key, (line, (image,)) in images.items():
            at, (flag,) = splits[key]
            if to_int(flag, f'{self.path("train_test_split.txt")}:{at}', 'the split', 0, 2) != (self.split == 'train'):
                continue
            at, (label,) = labels[key]
            label = to_int(label, f'{self.path("image_class_labels.txt")}:{at}', 'the label', 1) - 1
            at, box = boxes[key]
            box = to_box(box, f'{self.path("bounding_boxes.txt")}:{at}', corners=False)
            entry = dict(img_path=self.path('images', image), gt_label=label, gt_bboxes=[box], row=line)
            if self.with_masks:
                entry['mask_paths'] = [self.path('segmentations', image.rsplit('.', 1)[0] + '.png')]
            yield entry

    def cache_key(self) -> tuple:
        """The option that changes the entries."""
        return (self.with_masks,)
