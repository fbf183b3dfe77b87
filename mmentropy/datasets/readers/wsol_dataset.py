# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Any set that is described by the four files of the public WSOL metadata."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmentropy.datasets.readers.base import LocalizationDataset
from mmentropy.datasets.readers.parsing import join
from mmentropy.datasets.readers.wsol_metadata import (
    CLASS_LABELS,
    IMAGE_IDS,
    IMAGE_SIZES,
    LOCALIZATION,
    WSOLMetadata,
    metadata_entries,
    read_metadata,
)
from mmentropy.registry import DATASETS


def load_metadata(folder: str, hint: str) -> WSOLMetadata:
    """The four files of a split, read and cross-checked; a missing file's error ends with how to prepare the set."""
    try:
        return read_metadata(folder)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{error}; {hint}') from None


def metadata_files(folder: str) -> list[str]:
    """Paths of the four files of a split."""
    return [join(folder, name) for name in (IMAGE_IDS, CLASS_LABELS, IMAGE_SIZES, LOCALIZATION)]


@DATASETS.register_module()
class WSOLMetadataDataset(LocalizationDataset):
    """A set in the WSOL benchmark's four-file format (Choe et al., CVPR 2020); boxes or masks.

    ::

        metadata_root/<split>/{image_ids,class_labels,image_sizes,localization}.txt
        data_root/<path of image_ids.txt>

    Documented counts (train / val / test): CUB 5 994 / 1 000 / 5 794, ILSVRC 1 281 167 / 10 000 / 50 000, OpenImages30k
    29 819 / 2 500 / 5 000.

    Args:
        data_root: where the ids' paths begin.
        split: name of the directory below ``metadata_root``.
        metadata_root: where the four files are.
        num_classes: number of labels; by default the largest label of the split and one.
        mask_root: where the masks' paths begin; by default ``data_root``.
        mask_format: see :func:`mmentropy.ops.masks.decode_mask`.
        **kwargs: of :class:`LocalizationDataset`.

    >>> from mmentropy.safe_files import write_whole
    >>> write_whole('metadata/val/image_ids.txt', 'a.jpg')
    >>> write_whole('metadata/val/class_labels.txt', 'a.jpg,3')
    >>> info = WSOLMetadataDataset('images', 'val', metadata_root='metadata').get_data_info(0)
    >>> info['img_path'], info['gt_label']
    ('images/a.jpg', 3)
    """

    NAME = 'wsol'
    MASKS_OF_IMAGE_SIZE = False

    def __init__(
        self,
        data_root: str = '',
        split: str = 'train',
        *,
        metadata_root: str,
        num_classes: int | None = None,
        mask_root: str | None = None,
        mask_format: str = 'nonzero',
        **kwargs: Any,
    ) -> None:
        self.metadata_root, self.num_classes, self.mask_root = str(metadata_root), num_classes, mask_root
        self._read: WSOLMetadata | None = None
        self.MASK_FORMAT = mask_format
        super().__init__(data_root, split, **kwargs)

    @property
    def hint(self) -> str:
        """Where the format is described."""
        return 'docs/datasets.md describes the four files of the WSOL metadata'

    def index_files(self) -> list[str]:
        """The four files of the split."""
        return metadata_files(f'{self.metadata_root}/{self.split}')

    def class_names(self) -> list[str]:
        """The labels as text: the format knows no names."""
        count = self.num_classes or 1 + max(self._metadata().labels.values())
        return [str(label) for label in range(count)]

    def _metadata(self) -> WSOLMetadata:
        if self._read is None:
            self._read = load_metadata(f'{self.metadata_root}/{self.split}', self.hint)
        return self._read

    def parse_index(self) -> Iterator[dict]:
        """One entry an image, in the order of ``image_ids.txt``."""
        data, self._read = self._metadata(), None  # a million ids need not stay
        mask_root = self.data_root if self.mask_root is None else self.mask_root
        return metadata_entries(data, self.data_root, mask_root)

    def cache_key(self) -> tuple:
        """The options that change the entries."""
        return self.metadata_root, self.num_classes, self.mask_root
