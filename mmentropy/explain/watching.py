# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Running a model without leaving a trace in it, and watching what each of its modules gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmentropy.ops.network_outputs import last_tensor, raw_scores


def with_last_tensor(output: object, tensor: Tensor) -> object:
    """The output with :func:`last_tensor` replaced."""
    if isinstance(output, Tensor):
        return tensor
    items = list(output)
    where = max(i for i, item in enumerate(items) if last_tensor(item) is not None)
    items[where] = with_last_tensor(items[where], tensor)
    return tuple(items) if isinstance(output, tuple) else items


def run(model: nn.Module, images: Tensor) -> Tensor:
    """Raw scores of a batch: (N, C) logits of a classifier, (N, C, H, W) of a segmentor.

    Raises:
        ValueError: when the model gives something else.
    """
    return raw_scores(model(images), type(model).__name__)


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients for the parameters; both restored on the way out, module by module."""
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


@contextmanager
def hooked(handles: list) -> Iterator[None]:
    """Remove hooks on the way out, also after an exception."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(eq=False)  # a module that is called twice gives two records, and tensors do not compare
class Record:
    """What a module was seen to do.

    Attributes:
        name: its dotted name.
        module: itself.
        inputs: its first input, as :func:`last_tensor` reads it.
        output: what it gave, likewise.
    """

    name: str
    module: nn.Module
    inputs: Tensor | None
    output: Tensor


def watch(model: nn.Module, image: Tensor) -> tuple[list[Record], Tensor]:
    """One forward pass with gradients: the modules in the order they finish, and the model's own output (:func:`run`).

    The parameters ask for no gradients. Where the image does, any output can be asked what depends upon it.
    """
    records: list[Record] = []

    def keep(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        given = last_tensor(output)
        if given is not None:
            records.append(Record(name, module, last_tensor(inputs[:1]), given))

    # Bound by default arguments: a closure would see the loop's last name.
    handles = [
        module.register_forward_hook(lambda m, i, o, name=name: keep(name, m, i, o))
        for name, module in model.named_modules()
        if name
    ]
    with hooked(handles), frozen(model), torch.enable_grad():
        logits = run(model, image)
    return records, logits
