# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Loops that go on in the middle: which batches are left, and whose random numbers they see."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from mmentropy.engine.checkpoint_hook import RANDOM_STATES
from mmentropy.engine.random_state import random_states
from mmentropy.engine.train_loop import EpochTrainLoop, _Skipping


class Batches:
    """Five batches; each draws a random number, as data sets without workers do."""

    def __len__(self) -> int:
        return 5

    def __iter__(self):
        for i in range(5):
            yield i, random.random()


class Loop(EpochTrainLoop):
    """Without mmengine's runner: a loop at so many iterations of an epoch."""

    def __init__(self, epoch: int, iteration: int, states: list | None = None) -> None:
        self._epoch, self._iter, self.dataloader, self.seen, self.calls = epoch, iteration, Batches(), [], []
        hub = SimpleNamespace(runtime_info={RANDOM_STATES: states} if states else {})
        model = SimpleNamespace(train=lambda: None)
        self._runner = SimpleNamespace(message_hub=hub, call_hook=self.calls.append, model=model)

    def run_iter(self, idx: int, data_batch: tuple) -> None:
        self.seen.append((idx, *data_batch))


def test_an_epoch_from_its_start():
    random.seed(0)
    loop = Loop(epoch=1, iteration=5)
    loop.run_epoch()
    assert [(i, j) for i, j, _ in loop.seen] == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]
    assert loop.calls == ['before_train_epoch', 'after_train_epoch']
    assert loop.epoch == 2


def test_what_is_left_of_an_epoch_sees_the_random_numbers_of_the_run():
    random.seed(0)
    whole = Loop(epoch=0, iteration=0)
    whole.run_epoch()
    random.seed(0)
    drawn = iter(Batches())
    for _ in range(3):
        next(drawn)
    states = random_states()  # as the checkpoint keeps them
    random.seed(99)
    resumed = Loop(epoch=0, iteration=3, states=states)
    resumed.run_epoch()
    assert resumed.seen == whole.seen[3:]


def test_at_the_very_end_of_an_epoch_nothing_is_left():
    loop = Loop(epoch=0, iteration=5)
    loop.run_epoch()
    assert (loop.seen, loop.epoch) == ([], 1)


@pytest.mark.parametrize('iteration', [4, 12])
def test_a_checkpoint_of_other_batches_begins_the_epoch_anew(iteration):
    loop = Loop(epoch=1, iteration=iteration)  # epoch 1 has the iterations 5 to 10
    assert loop.trained_batches() == 0
    assert loop.iter == 5


def test_skipping_uses_up_no_random_number():
    def endless():
        while True:
            yield random.random()

    random.seed(0)
    expected = [random.random() for _ in range(2)]
    random.seed(0)
    batches = _Skipping(endless(), 3)
    for _ in range(3):
        next(batches)
    assert [next(batches), next(batches)] == expected
