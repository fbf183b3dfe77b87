# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The schedules of min-max localisation by hand."""

from __future__ import annotations

import pytest
from torch import nn

from mmentropy.engine import MinMaxScheduleHook
from mmentropy.engine.minmax_hook import geometric


def test_schedules_by_hand():
    hook = MinMaxScheduleHook()
    assert hook.values(0) == {'barrier_t': 5.0}
    assert hook.values(10)['barrier_t'] == pytest.approx(5 * 1.01**10)
    assert hook.values(69)['barrier_t'] == pytest.approx(9.934, abs=1e-3)
    assert hook.values(70)['barrier_t'] == hook.values(1000)['barrier_t'] == 10
    assert geometric(3, 0.5, 0.9, 0.4) == 0.4
    assert geometric(1, 0.5, 0.9, 0.4) == pytest.approx(0.45)
    with pytest.raises(ValueError, match='barrier_t must be dict'):
        MinMaxScheduleHook(barrier_t=dict(start=-1))
    with pytest.raises(ValueError, match='sigma must be dict'):
        MinMaxScheduleHook(sigma=dict(start=0.5, ends=1))
    with pytest.raises(ValueError, match='at least 1, got 0'):
        MinMaxScheduleHook(epoch_length=0)


def test_hook_refuses_another_model():
    class Runner:
        model, iter = nn.Linear(1, 1), 0

    with pytest.raises(ValueError, match='drives a MinMaxLocalizer, not a Linear'):
        MinMaxScheduleHook().before_train_iter(Runner(), 0)
