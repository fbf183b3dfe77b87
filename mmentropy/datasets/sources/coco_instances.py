# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A set with annotations in the form of COCO, seen image by image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmentropy.ops.seeding.confusion import label_type
from mmentropy.registry import SOURCES

from .coco_index import CocoImage, CocoIndex, read_coco
from .image_source import ImageSource


@SOURCES.register_module()
@dataclass(frozen=True)
class CocoInstances(ImageSource):
    """Folders of images, and a JSON file of ``images``, ``annotations`` and ``categories`` for each list.

    ::

        root                                           e.g. data/coco
        ├── annotations/instances_{train,val}2017.json
        └── {train,val}2017/<image>.jpg

    The labels of an image are the categories of its annotations, crowds included, counted from 0 by increasing id:
    COCO's 80 of 1 to 90 become 0 to 79. A pixel of the true mask has the class of the smallest object over it, and of
    a crowd where there is no object. Images without any annotation are left out, as is usual for weakly supervised
    segmentation.

    Args:
        root: see the tree.
        split: what ``{split}`` stands for.
        images: folder below ``root``.
        annotations: file below ``root``.
        empty: keep images without annotation; they are background alone, and have no label to train with.
        limit: only the first so many images.

    >>> CocoInstances('data/coco', split='val')._file.as_posix()
    'data/coco/annotations/instances_val2017.json'
    """

    root: str
    split: str = 'train'
    images: str = '{split}2017'
    annotations: str = 'annotations/instances_{split}2017.json'
    empty: bool = False
    limit: int | None = None

    @property
    def _file(self) -> Path:
        return Path(self.root, self.annotations.format(split=self.split))

    @property
    def index(self) -> CocoIndex:
        """The file's content; raises as :func:`~mmentropy.datasets.sources.coco_index.read_coco`."""
        return read_coco(self._file)

    def keys(self) -> list[str]:
        """Names of the images' files without suffix, in order."""
        return [key for key, image in self.index.images.items() if image.labels or self.empty]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the categories."""
        return self.index.names

    def _image(self, key: str) -> CocoImage:
        if key not in self.index.images:
            raise ValueError(f'{self._file}: no image {key!r} in it')
        return self.index.images[key]

    def image_path(self, key: str) -> Path:
        """``file_name`` of the image, in the folder of the split."""
        return Path(self.root, self.images.format(split=self.split), self._image(key).file)

    def labels(self, key: str) -> np.ndarray:
        """(K,) int64 classes from 0; ValueError without any."""
        labels = self._image(key).labels
        if not labels:
            raise ValueError(f'{self._file}: {key} has no annotation, so the image has no label')
        return np.array(labels, np.int64)

    def labels_from(self, key: str) -> list:
        """The labels, and what they are called."""
        return [list(self._image(key).labels), [self.classes[label] for label in self._image(key).labels]]

    def mask(self, key: str, size: tuple[int, int] | None = None) -> np.ndarray:
        """(H, W) true classes, drawn from the annotations."""
        image = self._image(key)
        if size is not None and image.size != tuple(size):
            raise ValueError(f'{self._file}: {key} has size {image.size} there, the image {tuple(size)}')
        return self.index.mask(key).astype(label_type(self.num_classes + 1))

    def truth_from(self, key: str) -> list:
        """The annotations."""
        return [self._image(key).size, self.index.annotations(key)]

    def image_number(self, key: str) -> int:
        """The image's ``id``."""
        return self._image(key).number

    def category_id(self, label: int) -> int:
        """The category's ``id``."""
        return self.index.categories[label]
