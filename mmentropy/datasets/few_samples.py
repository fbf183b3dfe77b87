# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Few images of each class, drawn with a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import torch
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from mmentropy.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class FewSamplesSampler(Sampler):
    """``per_class`` images of each class, the same in every epoch; an epoch is as long as with the whole set.

    So models that learn from 1, 2, 5, … images a class make equally many steps. A class with fewer images gives all it
    has. An image of several classes counts for each. The choice depends on ``seed`` alone, and with the same seed 5
    images hold the 2.

    Args:
        dataset: with ``get_cat_ids`` (mmpretrain's).
        per_class: images of each class, at least 1.
        seed: of the choice; the order of an epoch also depends on the epoch.
        length: images an epoch; None is the size of the data set.

    Raises:
        ValueError: for ``per_class`` below 1.

    >>> class Six:
    ...     def __len__(self):
    ...         return 6
    ...     def get_cat_ids(self, index):
    ...         return [index % 2]
    >>> sampler = FewSamplesSampler(Six(), per_class=1)
    >>> len(sampler), sorted({index % 2 for index in sampler}), len(set(sampler))
    (6, [0, 1], 2)
    """

    def __init__(self, dataset: Any, per_class: int, seed: int = 0, length: int | None = None) -> None:
        if per_class < 1:
            raise ValueError(f'FewSamplesSampler: per_class must be at least 1, got {per_class}')
        self.rank, self.world = get_dist_info()
        self.seed, self.epoch = seed, 0
        self.indices = few_of_each(dataset, per_class, seed)
        self.length = len(dataset) if length is None else length

    def __iter__(self) -> Iterator[int]:
        """This process's share of the epoch: the chosen images in one random order after the other."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        chosen, order = torch.tensor(self.indices), []
        total = len(self) * self.world
        while len(order) < total:
            order += chosen[torch.randperm(len(chosen), generator=generator)].tolist()
        return iter(order[self.rank : total : self.world])

    def __len__(self) -> int:
        """Images of this process in an epoch."""
        return -(-self.length // self.world)

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose order is given next; mmengine calls it."""
        self.epoch = epoch


def few_of_each(dataset: Sized, per_class: int, seed: int = 0) -> list[int]:
    """Indices of ``per_class`` images of each class, ascending; more with the same seed hold these."""
    generator = torch.Generator().manual_seed(seed)
    left: dict[int, int] = {}
    chosen = []
    for index in torch.randperm(len(dataset), generator=generator).tolist():
        wanted = [label for label in dataset.get_cat_ids(index) if left.setdefault(int(label), per_class) > 0]
        if wanted:
            chosen.append(index)
            for label in wanted:
                left[int(label)] -= 1
    return sorted(chosen)
