# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Random numbers that depend on the epoch alone, so that a run killed and resumed ends as one that was left alone."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import torch
from mmengine.dataset import worker_init_fn
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmentropy.registry import HOOKS


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """A seed in [0, 2³¹) for one epoch of one process; different epochs of one run never share a stream."""
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0] >> 1)


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed Python, numpy and torch at the start of each training epoch, from (the run's seed, the epoch, the rank).

    mmengine restores weights, optimizer and schedule of an interrupted run but not the random numbers, so the epochs
    after a resume see other crops than they would have. With this hook they see the same, and the weights at the end
    are equal bit for bit (on one machine, with the same number of threads and data workers).

    The loader must start its workers anew each epoch: ``persistent_workers=False``.

    >>> HOOKS.build(dict(type='mmentropy.EpochSeedHook')).priority
    'VERY_HIGH'
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """ValueError where data workers would carry their random numbers from epoch to epoch."""
        if getattr(runner.train_dataloader, 'persistent_workers', False):
            raise ValueError('EpochSeedHook needs train_dataloader.persistent_workers=False: workers are seeded anew')

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed this process, and tell the data workers of this epoch their seeds."""
        seed = epoch_seed(runner.seed, runner.epoch, runner.rank)
        if not (getattr(runner, 'iter', 0) and runner.epoch == 0):  # else: resumed, and the random numbers with it
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002  the hosts' transforms draw from the global generator
            torch.manual_seed(seed)
        loader = runner.train_dataloader
        if loader.num_workers:
            # The default is one fixed seed a worker, which would replay the same crops in every epoch.
            loader.worker_init_fn = partial(worker_init_fn, num_workers=loader.num_workers, rank=0, seed=seed)
