# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A progress bar with the time left, for runs whose log nobody reads."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.progress import Progress

from mmentropy.progress import progress_bar
from mmentropy.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Show training, validation and test iterations as progress bars on stderr (rank 0).

    Args:
        title: what stands before the bar.

    >>> HOOKS.build(dict(type='mmentropy.ProgressHook', title='seed 0')).title
    'seed 0'
    """

    priority = 'VERY_LOW'

    def __init__(self, title: str = '') -> None:
        self.title = title
        self.bar: Progress | None = None

    def _start(self, runner: Runner, what: str, done: int, total: int) -> None:
        self._stop()
        if runner.rank == 0:
            self.bar = progress_bar()
            self.task = self.bar.add_task(f'{self.title} {what}'.strip(), total=total, completed=done)
            self.bar.start()

    def _advance(self) -> None:
        if self.bar is not None:
            self.bar.advance(self.task)

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def before_train(self, runner: Runner) -> None:
        self._start(runner, 'train', runner.iter, runner.max_iters)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._advance()

    def after_train(self, runner: Runner) -> None:
        self._stop()

    def before_test(self, runner: Runner) -> None:
        self._start(runner, 'evaluate', 0, len(runner.test_dataloader))

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._advance()

    def after_test(self, runner: Runner) -> None:
        self._stop()
