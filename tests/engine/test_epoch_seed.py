# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mmentropy.engine.epoch_seed import EpochSeedHook, epoch_seed


class Draws(Dataset):
    """Each item is what the global generators say."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([np.random.random_sample(), random.random(), torch.rand(()).item()])  # noqa: NPY002


def epoch(number: int, workers: int, seed: int = 0) -> torch.Tensor:
    runner = SimpleNamespace(seed=seed, epoch=number, rank=0, train_dataloader=DataLoader(Draws(), num_workers=workers))
    hook = EpochSeedHook()
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    return torch.cat(list(runner.train_dataloader))


@pytest.mark.parametrize('workers', [0, 1])
def test_an_epochs_random_numbers_depend_on_seed_and_epoch_alone(workers):
    third = epoch(3, workers)
    torch.rand(5), np.random.random_sample(3), random.random()  # noqa: NPY002
    assert torch.equal(epoch(3, workers), third)
    assert (epoch(2, workers) != third).all()
    assert (epoch(3, workers, seed=1) != third).all()


def test_seeds_are_apart():
    seeds = {epoch_seed(seed, number, rank) for seed in range(5) for number in range(50) for rank in range(4)}
    assert len(seeds) == 5 * 50 * 4
    assert 0 <= min(seeds) < max(seeds) < 2**31


def test_persistent_workers_are_refused():
    loader = SimpleNamespace(persistent_workers=True)
    with pytest.raises(ValueError, match='persistent_workers=False'):
        EpochSeedHook().before_train(SimpleNamespace(train_dataloader=loader))
