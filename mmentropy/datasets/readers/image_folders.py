# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Image folders with or without split files: scenes, objects, actions and events, each with its published split."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmentropy.datasets.readers.base import LocalizationDataset
from mmentropy.datasets.readers.parsing import read_rows
from mmentropy.registry import DATASETS

IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff')


@dataclass(frozen=True)
class FolderLayout:
    """Where a set has its images, and how it is split.

    Attributes:
        images: folder of the images below the root.
        lists: split -> file of image paths, ``{n}`` the number of the partition and ``{class}`` each class; none where
            images are drawn.
        classes: file of the classes' names, one a line (further columns are left out); empty: the folders' names.
        per_class: split -> how many images of each class are drawn, in the order of the splits; None takes the rest.
        without: folders that are no class.
        source: what the split follows.

    >>> PRESETS['event8'].per_class['train']
    70
    """

    images: str
    lists: dict[str, str] | None = None
    classes: str = ''
    per_class: dict[str, int | None] | None = None
    without: tuple[str, ...] = ()
    source: str = ''


#: name -> layout, as the sets are published.
PRESETS = {
    'sun397': FolderLayout(
        'SUN397',
        lists=dict(train='Partitions/Training_{n:02d}.txt', test='Partitions/Testing_{n:02d}.txt'),
        classes='Partitions/ClassName.txt',
        source='Xiao et al., CVPR 2010: ten partitions of 50 and 50 images a class',
    ),
    'indoor67': FolderLayout(
        'Images',
        lists=dict(train='TrainImages.txt', test='TestImages.txt'),
        source='Quattoni and Torralba, CVPR 2009: 80 and 20 images a class',
    ),
    'scene15': FolderLayout(
        '', per_class=dict(train=100, test=None), source='Lazebnik et al., CVPR 2006: 100 a class drawn, rest tested'
    ),
    'caltech101': FolderLayout(
        '101_ObjectCategories',
        per_class=dict(train=30, test=50),
        without=('BACKGROUND_Google',),
        source='Fei-Fei et al., 2004; 30 a class drawn, at most 50 of the rest tested',
    ),
    'caltech256': FolderLayout(
        '256_ObjectCategories',
        per_class=dict(train=30, test=None),
        without=('257.clutter',),
        source='Griffin et al., 2007; 30 a class drawn, the rest tested',
    ),
    'action40': FolderLayout(
        'JPEGImages',
        lists=dict(train='ImageSplits/{class}_train.txt', test='ImageSplits/{class}_test.txt'),
        classes='ImageSplits/actions.txt',
        source='Yao et al., ICCV 2011: 100 a class, the rest tested',
    ),
    'event8': FolderLayout(
        '', per_class=dict(train=70, test=60), source='Li and Fei-Fei, ICCV 2007: 70 and 60 a class drawn'
    ),
}


@DATASETS.register_module()
class ImageFolders(LocalizationDataset):
    """Images in folders, a class each, split by published lists or drawn with a seed.

    The sets on which the CAM paper tries its features: ``sun397``, ``indoor67``, ``scene15``, ``caltech101``,
    ``caltech256``, ``action40``, ``event8``; :data:`PRESETS` says where each has its images and how it is split. Any
    other set of this kind has a :class:`FolderLayout` of its own.

    Args:
        data_root: where the set is unpacked.
        split: ``train`` or ``test``.
        preset: one of :data:`PRESETS`, or the arguments of a :class:`FolderLayout`.
        partition: of a set with several (SUN397: 1 to 10), or the seed of drawn splits.
        **kwargs: of :class:`LocalizationDataset`.

    Raises:
        ValueError: for an unknown preset, or a class with too few images to draw.
        FileNotFoundError: for a folder or list that is not there.

    >>> from mmentropy.safe_files import write_whole
    >>> for name in 'ab':
    ...     for kind in ('bocce', 'polo'):
    ...         write_whole(f'{kind}/{name}.jpg', b'')
    >>> layout = dict(images='', per_class=dict(train=1, test=None))
    >>> data = ImageFolders('', 'train', preset=layout)
    >>> len(data), data.metainfo['classes']
    (2, ('bocce', 'polo'))
    """

    SPLITS = ('train', 'test')

    def __init__(
        self, data_root: str = '', split: str = 'train', *, preset: str | dict, partition: int = 1, **kwargs
    ) -> None:
        if isinstance(preset, str) and preset not in PRESETS:
            raise ValueError(f'ImageFolders: preset must be one of {sorted(PRESETS)}, got {preset!r}')
        self.layout = PRESETS[preset] if isinstance(preset, str) else FolderLayout(**preset)
        self.preset, self.partition = preset, partition
        super().__init__(data_root, split, **kwargs)

    @property
    def hint(self) -> str:
        """What to do when a file is missing."""
        return f'docs/datasets.md tells how {self.preset if isinstance(self.preset, str) else "the set"} is laid out'

    def index_files(self) -> list[str]:
        """The lists, and the classes' names where a file has them; else the folder of the images."""
        names = [self.layout.classes] if self.layout.classes else []
        if self.layout.lists:
            pattern = self.layout.lists[self.split]
            names += [] if '{class}' in pattern else [pattern.format(n=self.partition)]
        return [self.path(name) for name in names] or [self.path(self.layout.images)]

    def class_names(self) -> Sequence[str]:
        """Names in the order of the labels."""
        if self.layout.classes:
            path = self.path(self.layout.classes)
            names = [line.split()[0] for _, line in self._lines(path)]
            return names[1:] if names[:1] == ['action_name'] else names  # Stanford's file has a header
        if self.layout.lists:
            parts = {image.rpartition('/')[0] for split in self.layout.lists for _, _, image in self._listed(split)}
            return sorted(parts)
        return sorted(self._folders())

    def parse_index(self) -> Iterator[dict]:
        """One entry an image."""
        numbers = {name: i for i, name in enumerate(self.class_names())}
        if not self.layout.lists:
            for name, images in self._drawn().items():
                for image in images:
                    yield dict(img_path=self.path(self.layout.images, name, image), gt_label=numbers[name])
            return
        for file, row, image in self._listed(self.split):
            path = self.path(self.layout.images, image.lstrip('/'))
            name = self._class_of(image, file)
            if name not in numbers:
                raise ValueError(f'{file}:{row}: {image!r} belongs to no class of {sorted(numbers)[:3]} …')
            yield dict(img_path=path, gt_label=numbers[name], row=row, source=file)

    def cache_key(self) -> tuple:
        """The options that change the entries."""
        return (str(self.preset), self.partition)

    # --- lists ------------------------------------------------------------------------------------------------------

    def _lines(self, path: str) -> Iterator[tuple[int, str]]:
        """(row, text) of a list; names may hold spaces."""
        for row, (text,) in read_rows(path, 1, '\n', 'a path', self.hint, self.backend_args):
            yield row, text

    def _listed(self, split: str) -> Iterator[tuple[str, int, str]]:
        """(file, row, image) of a split's lists."""
        pattern = self.layout.lists[split]
        names = self.class_names() if '{class}' in pattern else ['']
        for name in names:
            file = self.path(pattern.format(**{'n': self.partition, 'class': name}))
            for row, image in self._lines(file):
                yield file, row, image

    def _class_of(self, image: str, file: str) -> str:
        """The class of a listed image: its folder, or the list's own."""
        if '{class}' in self.layout.lists[self.split]:
            head, tail = Path(self.layout.lists[self.split]).name.split('{class}')
            return Path(file).name[len(head) : -len(tail)]
        return image.rpartition('/')[0]

    # --- folders ----------------------------------------------------------------------------------------------------

    def _folders(self) -> dict[str, list[str]]:
        """Class -> its images, by name."""
        root = Path(self.path(self.layout.images) or '.')
        if not root.is_dir():
            raise FileNotFoundError(f'{root} is no folder; {self.hint}')
        found: dict[str, list[str]] = defaultdict(list)
        for folder in sorted(root.iterdir()):
            if folder.is_dir() and folder.name not in self.layout.without:
                names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in IMAGES)
                if names:
                    found[folder.name] = names
        return found

    def _drawn(self) -> dict[str, list[str]]:
        """Class -> its images of the split; the seed and the class alone decide."""
        chosen = {}
        for name, images in self._folders().items():
            shuffled = random.Random(f'{self.partition} {name}').sample(images, len(images))
            start = 0
            for split, count in self.layout.per_class.items():
                part = shuffled[start:] if count is None else shuffled[start : start + count]
                start += len(part)
                if split == self.split:
                    if not part:
                        raise ValueError(f'{self.path(self.layout.images, name)} has no image left for {split!r}')
                    chosen[name] = sorted(part)
        return chosen
