# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Metrics that ask the model again are handed it before each evaluation."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from mmentropy.registry import HOOKS


@HOOKS.register_module()
class MetricModelHook(Hook):
    """Gives the model to every metric with a ``use_model``; :func:`~.startup.build_runner` adds it.

    >>> from types import SimpleNamespace as Runner
    >>> class Asking:
    ...     def use_model(self, model):
    ...         self.model = model
    >>> metric = Asking()
    >>> loop = Runner(evaluator=Runner(metrics=[metric]))
    >>> MetricModelHook().before_test(Runner(model='net', test_loop=loop))
    >>> metric.model
    'net'
    """

    def before_val(self, runner: Any) -> None:
        """Before a validation."""
        hand_over(runner.model, runner.val_loop)

    def before_test(self, runner: Any) -> None:
        """Before a test."""
        hand_over(runner.model, runner.test_loop)


def hand_over(model: Any, loop: Any) -> None:
    """The model, out of its distributed wrapper, to the metrics of a loop that ask for it."""
    for metric in loop.evaluator.metrics:
        if hasattr(metric, 'use_model'):
            metric.use_model(model.module if is_model_wrapper(model) else model)
