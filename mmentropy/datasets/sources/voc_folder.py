# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A folder in the layout of PASCAL VOC 2012, seen image by image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmentropy.datasets.label_png import read_label_png
from mmentropy.datasets.readers.parsing import read_rows, read_voc_xml
from mmentropy.datasets.readers.voc import VOC_CLASSES
from mmentropy.registry import SOURCES

from .image_source import ImageSource


@SOURCES.register_module()
@dataclass(frozen=True)
class VOCFolder(ImageSource):
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

    def keys(self) -> list[str]:
        """The image ids of the list.

        Raises:
            FileNotFoundError: if there is no such list.
        """
        path = Path(self.root, 'ImageSets/Segmentation', f'{self.split}.txt')
        rows = read_rows(str(path), 1, None, 'one image id', f'{self.root} must have the layout of VOC2012')
        return [key for _, (key,) in rows]

    def identity(self) -> list[Any]:
        """List and classes; the layout that every earlier run had goes without a name."""
        return [self.split, self.num_classes, self.limit]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, without background."""
        return VOC_CLASSES[: self.num_classes]

    def image_path(self, key: str) -> Path:
        """Of the JPEG."""
        return Path(self.root, 'JPEGImages', f'{key}.jpg')

    def labels(self, key: str) -> np.ndarray:
        """(K,) int64 classes from 0 in the image, difficult objects included.

        Raises:
            ValueError: if there is none, or one is not among the classes.
        """
        path = self.labels_from(key)
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

    def labels_from(self, key: str) -> Path:
        """The annotation."""
        return Path(self.root, 'Annotations', f'{key}.xml')

    def truth_from(self, key: str) -> Path:
        """The true mask, whether there is one or not."""
        return Path(self.root, self.truth, f'{key}.png')

    def mask(self, key: str, size: tuple[int, int] | None = None) -> np.ndarray | None:
        """(H, W) uint8 true classes, 255 left out; None if the set has no mask of this image."""
        path = self.truth_from(key)
        return read_label_png(path, self.num_classes + 1, size) if path.is_file() else None
