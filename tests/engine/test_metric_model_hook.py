# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Metrics that ask for the model get it before each evaluation, out of its wrapper."""

from __future__ import annotations

from types import SimpleNamespace

from mmengine.registry import MODEL_WRAPPERS
from torch import nn

from mmentropy.engine import MetricModelHook
from mmentropy.engine.metric_model_hook import hand_over


class Asking:
    model = None

    def use_model(self, model):
        self.model = model


def loop(*metrics):
    return SimpleNamespace(evaluator=SimpleNamespace(metrics=list(metrics)))


def test_the_loop_that_begins_is_served():
    val, test, deaf = Asking(), Asking(), object()
    runner = SimpleNamespace(model=nn.Identity(), val_loop=loop(val, deaf), test_loop=loop(test))
    MetricModelHook().before_val(runner)
    assert val.model is runner.model
    assert test.model is None
    MetricModelHook().before_test(runner)
    assert test.model is runner.model


def test_a_wrapper_is_taken_off(monkeypatch):
    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    monkeypatch.setitem(MODEL_WRAPPERS.module_dict, 'TestWrapper', Wrapper)
    metric, inner = Asking(), nn.Identity()
    hand_over(Wrapper(inner), loop(metric))
    assert metric.model is inner
