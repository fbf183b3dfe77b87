# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The state of the random number generators as plain data, so that a checkpoint may carry it."""

from __future__ import annotations

import random

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank


def random_state() -> dict:
    """State of Python's, numpy's and torch's generators in numbers, text and tensors (``weights_only`` loads them)."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002  the one that the hosts draw from
    state = {
        'python': [version, list(words), gauss],
        'numpy': [name, keys.tolist(), int(position), int(has_gauss), float(cached)],
        'torch': torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict) -> None:
    """Put the generators where :func:`random_state` found them."""
    version, words, gauss = state['python']
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state['numpy']
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


def random_states() -> list[dict]:
    """The states of all processes, by rank; every process must call it."""
    return all_gather_object(random_state())


def restore_own(states: list[dict] | None) -> None:
    """Restore this process's state of :func:`random_states`; nothing where the number of processes has grown."""
    if states and get_rank() < len(states):
        set_random_state(states[get_rank()])
