# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""When a signal stops a run: after the step, with a checkpoint, and never at an epoch's end, which has its own."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest

from mmentropy.engine import stop_hook
from mmentropy.engine.checkpoint_hook import WholeCheckpointHook
from mmentropy.engine.stop_hook import STOPPED, StopSignalHook


class Kept(WholeCheckpointHook):
    """Says what it was asked to write."""

    def __init__(self) -> None:
        self.asked = []

    def save_now(self, runner, epoch: int, iteration: int) -> str:
        self.asked.append((epoch, iteration))
        return 'interrupted.pth'


def run(hooks=(), iteration: int = 6, updated: bool = True) -> SimpleNamespace:
    """A runner in the second epoch of five batches."""
    loop = SimpleNamespace(run_epoch=None, dataloader=range(5))
    wrapper = SimpleNamespace(should_update=lambda: updated)
    return SimpleNamespace(train_loop=loop, optim_wrapper=wrapper, iter=iteration, epoch=1, rank=0, hooks=list(hooks))


def told() -> StopSignalHook:
    hook = StopSignalHook()
    hook.told = True
    return hook


def test_after_an_iteration(capsys):
    kept = Kept()
    StopSignalHook().after_train_iter(run([kept]), 1)  # nobody told it
    with pytest.raises(SystemExit) as stopped:
        told().after_train_iter(run([kept]), 1)
    assert stopped.value.code == STOPPED == 75
    assert kept.asked == [(1, 7)]
    said = 'stopped by a signal after 7 iterations: checkpoint interrupted.pth; go on with --resume'
    assert said in capsys.readouterr().err


def test_at_the_end_of_an_epoch_its_own_checkpoint_comes_first():
    kept = Kept()
    told().after_train_iter(run([kept], iteration=9), 4)
    assert kept.asked == []
    with pytest.raises(SystemExit):
        told().after_train_epoch(run([kept], iteration=10))
    assert kept.asked == [(2, 10)]


def test_gradients_that_are_still_added_up_are_waited_for():
    kept = Kept()
    told().after_train_iter(run([kept], updated=False), 1)
    assert kept.asked == []


def test_without_our_checkpoint_hook_it_is_said(capsys):
    with pytest.raises(SystemExit):
        told().after_train_iter(run(), 1)
    assert 'no checkpoint hook of ours: nothing written' in capsys.readouterr().err


def test_a_real_signal_is_heard_and_the_handlers_come_back(monkeypatch):
    monkeypatch.setattr(stop_hook, 'Finalize', lambda *args, **kwargs: None)
    before = signal.getsignal(signal.SIGUSR1)
    hook = StopSignalHook(signals=['SIGUSR1'])
    hook.before_train(SimpleNamespace(val_loop=None))
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert hook.told
    finally:
        hook.after_train(None)
    assert signal.getsignal(signal.SIGUSR1) == before


def test_workers_do_not_hear_the_signals():
    calls = []
    loader = SimpleNamespace(num_workers=2, worker_init_fn=calls.append)
    hook = StopSignalHook(signals=['SIGUSR1'])
    hook.before_train_epoch(SimpleNamespace(train_dataloader=loader))
    once = loader.worker_init_fn
    hook.before_train_epoch(SimpleNamespace(train_dataloader=loader))
    assert loader.worker_init_fn is once
    before = signal.getsignal(signal.SIGUSR1)
    try:
        loader.worker_init_fn(1)
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
        assert calls == [1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_options():
    with pytest.raises(ValueError, match='needs names of signals and interval >= 1'):
        StopSignalHook(signals=['SIGNOTHING'])
    with pytest.raises(ValueError, match='needs names of signals and interval >= 1'):
        StopSignalHook(interval=0)
