# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A scheduler's SIGTERM: finish the iteration, write a checkpoint, leave."""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.util import Finalize
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmentropy.registry import HOOKS

from .checkpoint_hook import WholeCheckpointHook
from .peer_watch import PeerWatch

#: Exit code of a run that a signal ended and that has its checkpoint: EX_TEMPFAIL, "try again later".
STOPPED = 75


@HOOKS.register_module()
class StopSignalHook(Hook):
    """On a signal, write ``interrupted.pth`` after the current iteration and exit with code 75 (:data:`STOPPED`).

    ``tools/train.py --resume`` goes on from there, in the middle of the epoch. A second signal ends the process at
    once. With gradient accumulation the run stops after the step that the gradients belong to.

    Args:
        signals: names of the signals.
        interval: in a run of several processes they agree every so many iterations whether one of them was told.

    >>> hook = HOOKS.build(dict(type='mmentropy.StopSignalHook', signals=('SIGTERM', 'SIGINT'), interval=5))
    >>> [number.name for number in hook.signals]
    ['SIGTERM', 'SIGINT']
    """

    priority = 'LOWEST'

    def __init__(self, signals: Sequence[str] = ('SIGTERM',), interval: int = 10) -> None:
        unknown = [name for name in signals if not hasattr(signal, name)]
        if unknown or interval < 1:
            raise ValueError(f'StopSignalHook needs names of signals and interval >= 1, got {signals} and {interval}')
        self.signals = [getattr(signal, name) for name in signals]
        self.interval, self.told, self.before, self.pid = interval, False, {}, os.getpid()
        self.watch: PeerWatch | None = None

    def before_train(self, runner: Runner) -> None:
        """Listen, and keep data workers from dying of a signal that goes to the whole job."""
        self.told, self.pid = False, os.getpid()
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._on_signal) for number in self.signals}
            self._watch_peers()
        # At exit Python asks daemon processes to end by SIGTERM and waits for them, which deaf ones do not hear.
        Finalize(None, _end_workers, args=(self.pid,), exitpriority=100)
        if runner.val_loop is not None:
            _deafen(runner.val_dataloader, self.signals)

    def before_train_epoch(self, runner: Runner) -> None:
        _deafen(runner.train_dataloader, self.signals)

    def after_train(self, runner: Runner) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}
        if self.watch is not None:
            self.watch.stop()

    def _watch_peers(self) -> None:
        """In a run of several processes none waits for one that has died."""
        if get_world_size() == 1:
            return
        here = (platform.node(), os.getpid())
        peers = [pid for node, pid in all_gather_object(here) if node == here[0] and pid != here[1]]
        self.watch = PeerWatch(peers)
        self.watch.start()

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.told or os.getpid() != self.pid:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.told = True

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        loop = runner.train_loop
        done = runner.iter + 1
        if hasattr(loop, 'run_epoch') and batch_idx + 1 == len(loop.dataloader):
            return  # the epoch's end has its own checkpoint, and hooks that come before it
        updated = getattr(runner.optim_wrapper, 'should_update', None)
        if self._agreed(done) and (updated is None or updated()):
            self._stop(runner, runner.epoch, done)

    def after_train_epoch(self, runner: Runner) -> None:
        if hasattr(runner.train_loop, 'run_epoch') and self._agreed(self.interval):
            self._stop(runner, runner.epoch + 1, runner.iter)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self.before and self._agreed(batch_idx + 1):
            self._stop(runner, runner.epoch, runner.iter)

    def _agreed(self, count: int) -> bool:
        """Whether any process was told; asked of the others every ``interval`` only, as it waits for them."""
        if get_world_size() == 1:
            return self.told
        if count % self.interval:
            return False
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        told = torch.tensor(int(self.told), device=device)
        all_reduce(told, 'max')
        return bool(told)

    @staticmethod
    def _stop(runner: Runner, epoch: int, iteration: int) -> None:
        hook = next((hook for hook in runner.hooks if isinstance(hook, WholeCheckpointHook)), None)
        said = 'no checkpoint hook of ours: nothing written'
        if hook is not None:
            said = f'checkpoint {hook.save_now(runner, epoch, iteration)}; go on with --resume'
        if runner.rank == 0:
            print(f'stopped by a signal after {iteration} iterations: {said}', file=sys.stderr, flush=True)
        raise SystemExit(STOPPED)


def _deafen(loader: DataLoader, signals: Sequence[int]) -> None:
    """Workers of this loader ignore the signals; when they are done the main process tells them otherwise."""
    inner = loader.worker_init_fn
    if loader.num_workers and not (isinstance(inner, partial) and inner.func is _deaf):
        loader.worker_init_fn = partial(_deaf, inner=inner, signals=tuple(signals))


def _end_workers(pid: int) -> None:
    """End what Python's own exit would end, with a signal that nobody ignores."""
    if os.getpid() != pid:
        return
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's would raise that a worker was killed
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


def _deaf(worker: int, inner: Callable[[int], None] | None, signals: Sequence[int]) -> None:
    for number in signals:
        signal.signal(number, signal.SIG_IGN)
    if inner is not None:
        inner(worker)
