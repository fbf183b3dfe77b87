# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""States of the generators go through a file."""

from __future__ import annotations

import random

import numpy as np
import torch

from mmentropy.engine.random_state import random_state, random_states, restore_own, set_random_state


def draws() -> list[float]:
    return [random.random(), np.random.random_sample(), torch.rand(()).item(), np.random.standard_normal()]  # noqa: NPY002


def test_random_states_go_through_a_file(tmp_path):
    random.gauss(0, 1), np.random.standard_normal()  # noqa: NPY002  each keeps a second value
    torch.save({'state': random_state()}, tmp_path / 'a.pth')
    first = draws()
    assert draws() != first
    set_random_state(torch.load(tmp_path / 'a.pth', weights_only=True)['state'])
    assert draws() == first


def test_each_process_takes_its_own(monkeypatch):
    states = random_states()
    assert len(states) == 1
    first = draws()
    restore_own([*states, None])
    assert draws() == first
    monkeypatch.setattr('mmentropy.engine.random_state.get_rank', lambda: 1)
    restore_own([None, *states])
    assert draws() == first
    restore_own(states)  # there were fewer processes when it was written
    restore_own(None)
    assert draws() != first
