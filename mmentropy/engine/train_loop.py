# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""mmengine's training loops, resumed where they stopped: inside an epoch, too, and with the same random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from mmentropy.registry import LOOPS

from .checkpoint_hook import RANDOM_STATES
from .random_state import random_state, restore_own, set_random_state


@LOOPS.register_module()
class EpochTrainLoop(EpochBasedTrainLoop):
    """``EpochBasedTrainLoop`` that goes on in the middle of an epoch, where its checkpoint was written there.

    mmengine would begin the epoch anew, with the counter of iterations ahead of the data. Here the batches that were
    trained on are drawn and left out (so that data workers use up the same random numbers), then the generators are
    put where they were. With ``EpochSeedHook`` the resumed run equals the undisturbed one bit for bit.

    >>> train_cfg = dict(type='mmentropy.EpochTrainLoop', max_epochs=50, val_interval=5)  # in a config
    >>> LOOPS.get(train_cfg['type']).__name__
    'EpochTrainLoop'
    """

    def trained_batches(self) -> int:
        """Batches of the current epoch that lie behind: 0 unless the run was resumed inside it, or at its very end."""
        done = self._iter - self._epoch * len(self.dataloader)
        if 0 <= done <= len(self.dataloader):
            return done
        # Another number of processes or another batch size: the epoch begins anew, and so does its count.
        print_log(
            f'the checkpoint was written after {self._iter} iterations by a run with other batches; '
            f'epoch {self._epoch + 1} begins anew',
            'current',
        )
        self._iter = self._epoch * len(self.dataloader)
        return 0

    def run_epoch(self) -> None:
        """Iterate over what is left of one epoch."""
        done = self.trained_batches()
        states = self.runner.message_hub.runtime_info.pop(RANDOM_STATES, None)
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        batches = enumerate(self.dataloader if done < len(self.dataloader) else ())
        if done:
            for _ in islice(batches, done):
                pass
            restore_own(states)
        for idx, data_batch in batches:
            self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


@LOOPS.register_module()
class IterTrainLoop(IterBasedTrainLoop):
    """``IterBasedTrainLoop`` whose random numbers go on with its data; exact where ``num_workers=0``.

    Data workers draw from generators of their own, which begin anew with a resumed run: with workers the order of the
    images is the same, their random crops are not.

    >>> train_cfg = dict(type='mmentropy.IterTrainLoop', max_iters=20_000)  # in a config
    >>> LOOPS.get(train_cfg['type']).__name__
    'IterTrainLoop'
    """

    def run(self) -> Any:
        # The random numbers themselves are WholeCheckpointHook's to restore, before the first iteration.
        if self._iter:
            self.dataloader_iterator = _Skipping(self.dataloader_iterator, self._iter)
        return super().run()


class _Skipping:
    """The batches of a resumed run; leaving out those that were trained on uses up no random number."""

    def __init__(self, batches: Iterator, skipped: int) -> None:
        self.batches, self.left, self.state = batches, skipped, None

    def skip_iter(self, number: int) -> None:
        self.state, self.left = random_state(), 0
        self.batches.skip_iter(number)

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        if self.left:  # mmengine before 0.10.12 skips by drawing
            self.state, self.left = self.state or random_state(), self.left - 1
        elif self.state is not None:
            if hasattr(self.batches, '_ensure_iterator'):
                self.batches._ensure_iterator()  # a new loader draws a number
            set_random_state(self.state)
            self.state = None
        return next(self.batches)
