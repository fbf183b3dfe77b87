# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The bar counts iterations, a resumed run's from where it goes on, on the main process alone."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from mmentropy.engine import progress_hook
from mmentropy.engine.progress_hook import ProgressHook
from mmentropy.progress import progress_bar


@pytest.fixture
def written(monkeypatch) -> io.StringIO:
    """What a terminal would show."""
    file = io.StringIO()
    monkeypatch.setattr(progress_hook, 'progress_bar', lambda: progress_bar(Console(file=file, width=120)))
    return file


def test_training_and_test(written):
    runner = SimpleNamespace(rank=0, iter=3, max_iters=5, test_dataloader=range(2))
    hook = ProgressHook('seed 0')
    hook.before_train(runner)
    assert (hook.bar.tasks[0].completed, hook.bar.tasks[0].total) == (3, 5)
    for i in range(2):
        hook.after_train_iter(runner, i)
    assert hook.bar.tasks[0].finished
    hook.after_train(runner)
    assert hook.bar is None
    hook.before_test(runner)
    hook.after_test_iter(runner, 0)
    hook.after_test(runner)
    assert 'seed 0 train' in written.getvalue()
    assert '5/5' in written.getvalue()
    assert 'seed 0 evaluate' in written.getvalue()
    assert '1/2' in written.getvalue()


def test_other_processes_say_nothing(written):
    hook = ProgressHook()
    hook.before_train(SimpleNamespace(rank=1, iter=0, max_iters=5))
    hook.after_train_iter(None, 0)
    hook.after_train(None)
    assert hook.bar is None
    assert written.getvalue() == ''
