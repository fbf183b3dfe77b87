# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A folder in the layout of PASCAL VOC 2012, seen image by image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mmentropy.datasets.readers.parsing import read_rows, read_voc_xml
from mmentropy.datasets.readers.voc import VOC_CLASSES
from mmentropy.image_files import read_image

from .digests import Digests
from .files import read_label_png


@dataclass(frozen=True)
class VOCFolder:
    """Lists, images, image labels and, where there are some, true masks.

    Args:
        root: holds ``JPEGImages``, ``Annotations``, ``ImageSets/Segmentation`` and perhaps ``SegmentationClass``.
        split: the list that the seeds are made for, e.g. ``train`` or ``trainaug``.
        truth: folder of the masks that seeds are measured against.
        num_classes: keep the first n of the twenty classes, all by default.
        limit: only the first so many images of the list.

    >>> folder = VOCFolder('data/VOC2012', num_classes=2)
    >>> folder.classes, folder.image_path('2007_000032').as_posix()
    (('aeroplane', 'bicycle'), 'data/VOC2012/JPEGImages/2007_000032.jpg')
    """

    root: str
    split: str = 'train'
    truth: str = 'SegmentationClass'
    num_classes: int = 20
    limit: int | None = None

    def ids(self, split: str | None = None) -> list[str]:
        """The image ids of a list.

        Raises:
            FileNotFoundError: if there is no such list.
        """
        path = Path(self.root, 'ImageSets/Segmentation', f'{split or self.split}.txt')
        rows = read_rows(str(path), 1, None, 'one image id', f'{self.root} must have the layout of VOC2012')
        return [key for _, (key,) in rows][: self.limit]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, without background."""
        return VOC_CLASSES[: self.num_classes]

    def image_path(self, key: str) -> Path:
        """Of the JPEG."""
        return Path(self.root, 'JPEGImages', f'{key}.jpg')

    def image(self, key: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB, as stored, as the masks are; raises as :func:`mmentropy.image_files.read_image`."""
        return read_image(self.image_path(key), exif=False)

    def labels(self, key: str) -> np.ndarray:
        """(K,) int64 classes from 0 in the image, difficult objects included.

        Raises:
            ValueError: if there is none, or one is not among the classes.
        """
        path = Path(self.root, 'Annotations', f'{key}.xml')
        if not path.is_file():
            raise ValueError(f'{path}: no annotation, so the image has no label')
        _, objects = read_voc_xml(str(path))
        names = {one.name for one in objects}
        unknown = sorted(names - set(self.classes))
        if unknown:
            raise ValueError(f'{path}: {unknown[0]!r} is none of the {len(self.classes)} classes')
        if not names:
            raise ValueError(f'{path}: no object, so the image has no label; take it off the list')
        return np.array(sorted(self.classes.index(name) for name in names), np.int64)

    def label_digest(self, key: str, digests: Digests) -> str:
        """Hash of what :meth:`labels` reads."""
        return digests.of(Path(self.root, 'Annotations', f'{key}.xml'))

    def mask_path(self, key: str) -> Path:
        """Of the true mask, whether there is one or not."""
        return Path(self.root, self.truth, f'{key}.png')

    def mask(self, key: str, size: tuple[int, int] | None = None) -> np.ndarray | None:
        """(H, W) uint8 true classes, 255 left out; None if the set has no mask of this image."""
        path = self.mask_path(key)
        return read_label_png(path, self.num_classes + 1, size) if path.is_file() else None
