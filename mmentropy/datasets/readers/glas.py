# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""GlaS: gland segmentation in histology, the 2015 challenge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmentropy.datasets.drawn.shapes import Draws
from mmentropy.datasets.readers.base import LocalizationDataset
from mmentropy.datasets.readers.parsing import read_rows
from mmentropy.registry import DATASETS

#: Stream of the random numbers of the folds, apart from those of the images.
STREAM = 65


@DATASETS.register_module()
class GlaS(LocalizationDataset):
    """165 images of benign or malignant colon glands: 85 for training, 80 for testing (60 of part A, 20 of part B).

    ::

        data_root
        ├── Grade.csv                  name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)
        ├── train_<n>.bmp              85 images
        ├── train_<n>_anno.bmp         glands numbered from 1, 0 is background
        ├── testA_<n>.bmp, testA_<n>_anno.bmp
        └── testB_<n>.bmp, testB_<n>_anno.bmp

    The 85 are divided into 67 for training and 18 for validation (8 benign and 10 malignant), the sizes of the
    published protocol; the division itself is ours, drawn from ``fold``.

    Args:
        data_root: see the tree.
        split: ``train``, ``val`` or ``test``.
        fold: which random division.
        **kwargs: of :class:`LocalizationDataset`.

    >>> dataset = GlaS('data/glas', 'train', fold=1, lazy_init=True)
    >>> dataset.index_files(), dataset.class_names()
    (['data/glas/Grade.csv'], ('benign', 'malignant'))
    """

    NAME = 'glas'
    COUNTS = {'train': 67, 'val': 18, 'test': 80}
    CLASSES_ = ('benign', 'malignant')
    LAYOUT = 'name, patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)'

    def __init__(self, data_root: str = '', split: str = 'train', *, fold: int = 0, **kwargs: Any) -> None:
        self.fold = fold
        super().__init__(data_root, split, **kwargs)

    def index_files(self) -> list[str]:
        """``Grade.csv``."""
        return [self.path('Grade.csv')]

    def class_names(self) -> tuple[str, ...]:
        """Benign and malignant."""
        return self.CLASSES_

    def parse_index(self) -> Iterator[dict]:
        """One entry a row of the split."""
        (file,) = self.index_files()
        rows = read_rows(file, 4, ',', self.LAYOUT, self.hint, self.backend_args)
        grades: dict[str, tuple[int, int]] = {}
        for line, fields in rows:
            name, _, grade, _ = fields
            if line == 1 and name.lower() == 'name':
                continue
            if grade not in self.CLASSES_:
                raise ValueError(f'{file}:{line}: the grade must be benign or malignant, found {grade!r}')
            part = name.split('_')[0]
            if part not in ('train', 'testA', 'testB'):
                raise ValueError(f'{file}:{line}: a name begins with train_, testA_ or testB_, found {name!r}')
            if name in grades:
                raise ValueError(f'{file}:{line}: {name!r} stands already in line {grades[name][0]}')
            if (part == 'train') == (self.split != 'test'):
                grades[name] = line, self.CLASSES_.index(grade)
        chosen = (
            set(grades) if self.split == 'test' else self._fold({name: label for name, (_, label) in grades.items()})
        )
        for name, (line, label) in grades.items():
            if name in chosen:
                masks = [self.path(f'{name}_anno.bmp')]
                yield dict(img_path=self.path(f'{name}.bmp'), gt_label=label, mask_paths=masks, row=line)

    def _fold(self, labels: dict[str, int]) -> set[str]:
        """Names of the split: of each class 18 in 85 go to ``val``, the rest to ``train``."""
        validation: set[str] = set()
        for label in range(len(self.CLASSES_)):
            draws = Draws(self.fold, STREAM, label)
            names = sorted(name for name in labels if labels[name] == label)
            for _ in range((len(names) * 18 + 42) // 85):
                validation.add(names.pop(draws.integer(0, len(names))))
        return validation if self.split == 'val' else set(labels) - validation

    def cache_key(self) -> tuple:
        """The option that changes the entries."""
        return (self.fold,)
