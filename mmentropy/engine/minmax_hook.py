# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The schedules of min-max entropy localisation, as functions of the iteration."""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmentropy.registry import HOOKS

#: The model's buffers that may follow a schedule.
SCHEDULED = ('barrier_t', 'sigma', 'erasing_sigma')


def geometric(epoch: int, start: float, factor: float = 1.0, end: float | None = None) -> float:
    """``start`` · ``factor``^``epoch``, not beyond ``end`` (a ceiling if the factor is above 1, else a floor)."""
    value = start * factor**epoch
    if end is None:
        return value
    return min(value, end) if factor > 1 else max(value, end)


@HOOKS.register_module()
class MinMaxScheduleHook(Hook):
    """Set the barrier's t, the mask's σ and erasing's σ, and tell the model the epoch, before every iteration.

    Everything follows from the number of the iteration, so a resumed run goes on as if it had never stopped, in the
    middle of an epoch, too. The values are logged as ``barrier_t``, ``sigma``, ``erasing_sigma``.

    Args:
        barrier_t, sigma, erasing_sigma: ``dict(start, factor, end)`` of :func:`geometric` over epochs; None leaves the
            model's own value. The journal's barrier is the default: from 5, × 1.01 an epoch, to 10.
        epoch_length: iterations an epoch; None takes the length of the training dataloader.

    Raises:
        ValueError: for a start or factor that is not above 0, or an ``epoch_length`` below 1; in a run, for a model
            without these values.

    >>> hook = MinMaxScheduleHook(barrier_t=dict(start=5.0, factor=2.0, end=15.0))
    >>> [hook.values(epoch)['barrier_t'] for epoch in range(3)]
    [5.0, 10.0, 15.0]
    """

    priority = 'NORMAL'

    def __init__(
        self,
        barrier_t: Mapping[str, float] | None = None,
        sigma: Mapping[str, float] | None = None,
        erasing_sigma: Mapping[str, float] | None = None,
        epoch_length: int | None = None,
    ) -> None:
        barrier_t = dict(start=5.0, factor=1.01, end=10.0) if barrier_t is None else barrier_t
        given = dict(zip(SCHEDULED, (barrier_t, sigma, erasing_sigma)))
        self.schedules = {name: dict(value) for name, value in given.items() if value is not None}
        for name, value in self.schedules.items():
            if value.get('start', 0) <= 0 or value.get('factor', 1.0) <= 0 or set(value) - {'start', 'factor', 'end'}:
                raise ValueError(f'{name} must be dict(start, factor, end) with start and factor above 0, got {value}')
        if epoch_length is not None and epoch_length < 1:
            raise ValueError(f'epoch_length counts iterations and is at least 1, got {epoch_length}')
        self.epoch_length = epoch_length

    def values(self, epoch: int) -> dict[str, float]:
        """The scheduled values of an epoch (from 0)."""
        return {name: geometric(epoch, **schedule) for name, schedule in self.schedules.items()}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not hasattr(model, 'barrier_t'):
            raise ValueError(f'MinMaxScheduleHook drives a MinMaxLocalizer, not a {type(model).__name__}; leave it out')
        epoch = runner.iter // (self.epoch_length or len(runner.train_dataloader))
        model.set_epoch(epoch)
        for name, value in self.values(epoch).items():
            getattr(model, name).fill_(value)
            runner.message_hub.update_scalar(f'train/{name}', value)
