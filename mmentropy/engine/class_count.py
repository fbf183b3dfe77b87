# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A head for fewer classes than the data have is told before the first step, not by an index error in the loss."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


class ClassCountHook(Hook):
    """Compares each data set of a run with the classifier's head; :func:`~.startup.build_runner` adds it.

    A head may have more classes than a data set (a part of them is tested), never fewer. Nothing is said of models
    without a ``head`` that tells its ``num_classes``, or of data sets without class names.

    >>> from types import SimpleNamespace as Runner
    >>> head = Runner(num_classes=2)
    >>> loader = Runner(dataset=Runner(metainfo=dict(classes=('cat', 'dog'))))
    >>> loops = dict(_train_loop=None, _val_loop=None, _test_loop=Runner(dataloader=loader))
    >>> ClassCountHook().before_run(Runner(model=Runner(head=head), **loops))
    """

    def before_run(self, runner: Runner) -> None:
        """Look at the loops that are built: those of this training, or of this test."""
        model: Any = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            loader = getattr(loop, 'dataloader', None)
            if loader is not None:
                check_class_count(loader.dataset, getattr(model, 'head', None))


def check_class_count(dataset: Any, head: Any) -> None:
    """Refuse a data set with more classes than the head has outputs.

    Raises:
        ValueError: naming the data set, its classes and the head.
    """
    outputs = getattr(head, 'num_classes', None)
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if not isinstance(outputs, int) or classes is None or len(classes) <= outputs:
        return
    name = type(getattr(dataset, 'dataset', dataset)).__name__
    raise ValueError(
        f'{name} has {len(classes)} classes ({classes[0]}, …, {classes[-1]}), but the head {type(head).__name__} has '
        f'{outputs}; set data_preprocessor.num_classes={len(classes)}, and model.head.num_classes where it is named'
    )
