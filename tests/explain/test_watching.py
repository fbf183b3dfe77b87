# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What a watched network tells, and that nothing of the watching stays."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from torch import nn

from mmentropy.explain.watching import frozen, hooked, last_tensor, run, watch, with_last_tensor

A, B, C = torch.zeros(1), torch.ones(1), torch.full((1,), 2.0)


@pytest.mark.parametrize(
    ('output', 'expected'),
    [(A, A), ((A, B), B), ([A, (B, C)], C), ((A, (B, None)), B), ((A, []), A), (None, None), ('text', None)],
)
def test_last_tensor(output, expected):
    assert last_tensor(output) is expected


def test_the_last_tensor_is_replaced_where_it_stands():
    assert with_last_tensor(A, C) is C
    assert with_last_tensor((A, B), C) == (A, C)
    assert with_last_tensor([A, (B, None)], C) == [A, (C, None)]


class Giving(nn.Module):
    """A model that gives whatever it was made with."""

    def __init__(self, output) -> None:
        super().__init__()
        self.output = output

    def forward(self, x):
        return self.output


def test_scores_of_classifiers_and_segmentors():
    scores, maps = torch.zeros(2, 3), torch.zeros(2, 3, 4, 5)
    assert run(Giving(scores), A) is scores
    assert run(Giving((A, scores)), A) is scores
    assert run(Giving({'out': maps, 'aux': scores}), A) is maps
    assert run(Giving({'logits': scores}), A) is scores


@pytest.mark.parametrize(
    ('output', 'found'), [(torch.zeros(2, 3, 4), r'a tensor of shape \(2, 3, 4\)'), (None, 'no tensor')]
)
def test_another_output_is_told(output, found):
    with pytest.raises(ValueError, match=rf'Giving must give \(N, C\) logits or .*, it gave {found}'):
        run(Giving(output), A)


def test_frozen_restores_module_by_module_also_after_an_error():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout())
    model[0].eval()
    model[0].bias.requires_grad_(False)
    seen = []
    with suppress(RuntimeError), frozen(model):
        seen += [module.training for module in model.modules()] + [p.requires_grad for p in model.parameters()]
        raise RuntimeError
    assert seen == [False] * 5
    assert [model.training, model[0].training, model[1].training] == [True, False, True]
    assert [model[0].weight.requires_grad, model[0].bias.requires_grad] == [True, False]


def test_hooks_are_removed_also_after_an_error():
    layer, calls = nn.Identity(), []
    with suppress(RuntimeError), hooked([layer.register_forward_hook(lambda *of: calls.append(of))]):
        layer(A)
        raise RuntimeError
    layer(A)
    assert len(calls) == 1


def test_watching_keeps_what_each_module_read_and_gave():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    records, logits = watch(model, torch.rand(1, 3, 8, 8, requires_grad=True))
    assert [record.name for record in records] == ['0', '1', '2', '3']
    assert [tuple(record.output.shape) for record in records] == [(1, 4, 6, 6), (1, 4, 1, 1), (1, 4), (1, 2)]
    assert records[3].inputs is records[2].output
    assert torch.equal(logits, records[3].output)
    torch.autograd.grad(logits[0, 0], records[0].output)  # where the image asks, any output can be asked
    assert not any(module._forward_hooks for module in model)
