# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Few images of each class: how many, which, in what order, and how long an epoch is."""

from __future__ import annotations

from collections import Counter

import pytest

from mmentropy.datasets import FewSamplesSampler
from mmentropy.datasets.few_samples import few_of_each


class Labels:
    """A data set that knows only its labels."""

    def __init__(self, *labels: list[int]) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def get_cat_ids(self, index: int) -> list[int]:
        return self.labels[index]


THREE = Labels(*([i % 3] for i in range(30)), [3])


@pytest.mark.parametrize('count', [1, 2, 5])
def test_each_class_gives_its_number(count):
    chosen = few_of_each(THREE, count, seed=4)
    labels = Counter(THREE.labels[i][0] for i in chosen)
    assert labels == {0: count, 1: count, 2: count, 3: 1}
    assert set(chosen) <= set(few_of_each(THREE, count + 1, seed=4))


def test_the_choice_is_the_seeds_and_not_the_first():
    picks = {tuple(few_of_each(THREE, 2, seed)) for seed in range(5)}
    assert len(picks) == 5
    assert few_of_each(THREE, 2, 0) == few_of_each(THREE, 2, 0) != [0, 1, 2, 3, 4, 5, 30]


def test_an_image_of_several_classes_counts_for_each():
    assert len(few_of_each(Labels([0, 1], [0, 1], [0, 1]), 1)) == 1


def test_an_epoch_is_as_long_as_with_the_whole_set():
    sampler = FewSamplesSampler(THREE, per_class=2)
    first = list(sampler)
    assert len(first) == len(sampler) == 31
    counts = Counter(first)
    assert set(counts) == set(sampler.indices)
    assert max(counts.values()) - min(counts.values()) == 1
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert len(list(FewSamplesSampler(THREE, per_class=2, length=10))) == 10


def test_processes_share_an_epoch(monkeypatch):
    parts = []
    for rank in range(2):
        monkeypatch.setattr('mmentropy.datasets.few_samples.get_dist_info', lambda rank=rank: (rank, 2))
        parts.append(list(FewSamplesSampler(THREE, per_class=2)))
    assert [len(part) for part in parts] == [16, 16]
    monkeypatch.undo()
    whole = list(FewSamplesSampler(THREE, per_class=2, length=32))
    assert [i for pair in zip(*parts) for i in pair] == whole


def test_no_image_is_no_choice():
    with pytest.raises(ValueError, match='per_class must be at least 1'):
        FewSamplesSampler(THREE, per_class=0)
