# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Ground truths by image id, for maps that come from elsewhere: from the public metadata or any of our data sets."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from mmentropy.datasets.readers.wsol_metadata import WSOLMetadata, metadata_entry
from mmentropy.structures import GT_BBOXES, GT_LABEL, GT_MASK, IGNORE_MASK


class MetadataTruths:
    """Ground truths of the public four-file metadata.

    Args:
        metadata: from :func:`mmentropy.datasets.readers.wsol_metadata.read_metadata`.
        mask_root: where the masks' paths begin (mask sets).
        mask_size: (height, width) at which masks are joined: the evaluation's.

    Raises:
        ValueError: if the split has neither boxes nor masks.

    >>> from mmentropy.datasets.readers.wsol_metadata import LocalizationEntry
    >>> place = {'a.jpg': LocalizationEntry(boxes=[(1.0, 2.0, 5.0, 6.0)])}
    >>> metadata = WSOLMetadata(['a.jpg'], labels={'a.jpg': 3}, sizes={'a.jpg': (8, 9)}, localization=place)
    >>> truths = MetadataTruths(metadata)
    >>> truths.ids, truths[0]['gt_label'], truths[0]['gt_bboxes'].tolist(), truths[0]['ori_shape']
    (['a.jpg'], array([3]), [[1.0, 2.0, 5.0, 6.0]], (9, 8))
    """

    def __init__(self, metadata: WSOLMetadata, mask_root: str = '', mask_size: tuple[int, int] = (224, 224)) -> None:
        if not metadata.localization:
            raise ValueError('the metadata has no localization.txt with boxes or masks; give a split that has')
        self.ids = metadata.image_ids
        self.masks = bool(next(iter(metadata.localization.values())).masks)
        if not self.masks and not metadata.sizes:
            raise ValueError('the metadata has boxes but no image_sizes.txt; boxes cannot be scaled without it')
        self.metadata, self.mask_root = metadata, mask_root
        if self.masks:
            from mmentropy.datasets.transforms.sample_loading import LoadLocalizationMasks  # with the hosts

            self.load_masks = LoadLocalizationMasks(size=mask_size)

    def entry(self, index: int) -> dict[str, Any]:
        """What the metadata say of one image."""
        return metadata_entry(self.metadata, index, '', self.mask_root)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Fields of one image; masks are read here."""
        entry = self.entry(index)
        sample = {'img_path': self.ids[index], 'sample_id': index, GT_LABEL: np.array([entry['gt_label']])}
        if self.masks:
            loaded = self.load_masks.transform(dict(entry))
            return sample | {key: loaded[key] for key in (GT_MASK, IGNORE_MASK)}
        width, height = entry['size']
        return sample | {GT_BBOXES: np.array(entry['gt_bboxes'], dtype=np.float64), 'ori_shape': (height, width)}

    def digest(self, index: int) -> bytes:
        """Hash of what the metadata say of one image, masks by their files' bytes."""
        return _digest_of(self.entry(index))


class DatasetTruths:
    """Ground truths of one of our data sets, through its pipeline: any set that packs ``gt_bboxes`` or ``gt_mask``.

    An image's id is its path below the data set's root, or its index where it has no path.

    Args:
        dataset: built from a config's dataloader.

    >>> from mmentropy.datasets import PartShapes
    >>> truths = DatasetTruths(PartShapes(length=2, pipeline=[dict(type='mmentropy.PackLocalizationInputs')]))
    >>> truths.ids, truths[1]['gt_label']
    (['0', '1'], tensor([1]))
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.ids = [self._id(index) for index in range(len(dataset))]
        self.masks = GT_BBOXES not in self[0]

    def _id(self, index: int) -> str:
        info = self.dataset.get_data_info(index)
        path = info.get('img_path')
        if path is None:
            return str(index)
        root = str(getattr(self.dataset, 'data_root', '') or '')
        inside = root and Path(path).is_relative_to(root)
        return Path(path).relative_to(root).as_posix() if inside else Path(path).as_posix().lstrip('/')

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Fields of one image."""
        sample = self.dataset[index]['data_samples'].to_dict()
        return sample | {'img_path': self.ids[index]}

    def digest(self, index: int) -> bytes:
        """Hash of what the data set's index says of one image, masks by their files' bytes; the image is not read."""
        return _digest_of(self.dataset.get_data_info(index))


def _digest_of(entry: dict[str, Any]) -> bytes:
    """Hash of an entry's values, and of the files it names, but not of the image, of which no truth is made."""
    content = blake2b(digest_size=12)
    for key, value in sorted(entry.items()):
        content.update(repr((key, value)).encode(errors='surrogateescape'))
        paths = value if isinstance(value, list | tuple) else [value]
        for path in paths if key != 'img_path' else ():
            if isinstance(path, str) and Path(path).is_file():
                content.update(Path(path).read_bytes())
    return content.digest()
