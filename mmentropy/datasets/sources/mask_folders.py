# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A folder of images beside a folder of masks, in the layout of ADE20K, seen image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mmentropy.datasets.label_png import read_label_png
from mmentropy.datasets.readers.image_folders import IMAGES
from mmentropy.ops.seeding.confusion import ignore_value
from mmentropy.registry import SOURCES

from .image_source import ImageSource, key_of, read_classes


@SOURCES.register_module()
@dataclass(frozen=True)
class MaskFolders(ImageSource):
    """Images and masks of one name in two folders; the labels of an image are the classes in its mask.

    ::

        root                                           e.g. data/ade/ADEChallengeData2016
        ├── images/{training,validation}/<image>.jpg   folders inside of them are fine
        ├── annotations/{training,validation}/<image>.png
        └── objectInfo150.txt                          or any text file with one class a line

    A mask has one channel: eight bits, or sixteen where a set has more than 254 classes; class c is c + 1 there, and
    the highest value, 255 or 65535, is left out.

    Args:
        root: see the tree.
        split: what ``{split}`` stands for.
        images, masks: folders below ``root``.
        class_names: the names, or a file of them below ``root``.
        reduce_zero_label: 0 is no background but what was not annotated, and is left out, as in ADE20K.
        limit: only the first so many images.

    >>> from mmentropy.safe_files import write_whole
    >>> write_whole('ade/images/validation/hall/1.jpg', b'')
    >>> source = MaskFolders('ade', 'validation', class_names=['wall', 'floor'])
    >>> source.ids(), source.truth_from('hall__1').as_posix()
    (['hall__1'], 'ade/annotations/validation/hall/1.png')
    """

    root: str
    split: str = 'training'
    images: str = 'images/{split}'
    masks: str = 'annotations/{split}'
    class_names: str | Sequence[str] = 'objectInfo150.txt'
    reduce_zero_label: bool = True
    limit: int | None = None

    @cached_property
    def _files(self) -> dict[str, str]:
        """Id of an image → its path below the folder."""
        folder = Path(self.root, self.images.format(split=self.split))
        if not folder.is_dir():
            raise FileNotFoundError(f'{folder} is no folder; {self.root} must have the layout of ADE20K')
        files: dict[str, str] = {}
        for path in sorted(path for path in folder.rglob('*') if path.suffix.lower() in IMAGES):
            name = path.relative_to(folder).as_posix()
            key = key_of(name)
            if key in files:
                raise ValueError(f'{folder}: {name!r} and {files[key]!r} would both be called {key!r}')
            files[key] = name
        if not files:
            raise ValueError(f'{folder}: no image in it')
        return files

    def keys(self) -> list[str]:
        """Names of the images without suffix, in order."""
        return list(self._files)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; raises as :func:`~mmentropy.datasets.sources.image_source.read_classes`."""
        return read_classes(self.class_names, self.root)

    def _file(self, key: str) -> str:
        if key not in self._files:
            raise ValueError(f'{Path(self.root, self.images.format(split=self.split))}: no image {key!r} in it')
        return self._files[key]

    def image_path(self, key: str) -> Path:
        """In the folder of the split."""
        return Path(self.root, self.images.format(split=self.split), self._file(key))

    def labels(self, key: str) -> np.ndarray:
        """(K,) int64 classes from 0 that have a pixel; ValueError without any, or without a mask."""
        mask, path = self.mask(key), self.truth_from(key)
        if mask is None:
            raise ValueError(f'{path}: no mask, so the image has no label')
        values = np.unique(mask).astype(np.int64)
        values = values[(values > 0) & (values != ignore_value(self.num_classes + 1))]
        if not len(values):
            raise ValueError(f'{path}: the mask has no class, so the image has no label; take the image away')
        return values - 1

    def labels_from(self, key: str) -> Path:
        """The mask."""
        return self.truth_from(key)

    def mask(self, key: str, size: tuple[int, int] | None = None) -> np.ndarray | None:
        """(H, W) true classes; None without the file."""
        path = self.truth_from(key)
        if not path.is_file():
            return None
        mask = read_label_png(path, self.num_classes + 1, size)
        if self.reduce_zero_label:
            mask[mask == 0] = ignore_value(self.num_classes + 1)
        return mask

    def truth_from(self, key: str) -> Path:
        """The mask's file, whether there is one or not."""
        return Path(self.root, self.masks.format(split=self.split), self._file(key)).with_suffix('.png')

    def identity(self) -> list:
        """What 0 means counts, too."""
        return [*super().identity(), self.reduce_zero_label]
