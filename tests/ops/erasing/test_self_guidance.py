# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import math

import pytest
import torch

from mmentropy.ops.erasing.self_guidance import guidance_loss, guidance_targets

ATTENTION = torch.tensor([[[[0.0, 0.05, 0.1], [0.4, 0.7, 0.71], [0.04, 1.0, 0.5]]]])


def test_targets_by_hand():
    target, weight = guidance_targets(ATTENTION, low=0.05, high=0.7)
    assert target.tolist() == [[[[0, 0, 0], [0, 0, 1], [0, 1, 0]]]]
    assert weight.tolist() == [[[[1, 0, 0], [0, 0, 1], [1, 1, 0]]]]


def test_loss_by_hand():
    logits = torch.tensor([[[[0.0, 9.0, 9.0], [9.0, 9.0, 2.0], [-1.0, 0.5, 9.0]]]])
    log1pexp = lambda x: math.log1p(math.exp(x))  # noqa: E731
    expected = (log1pexp(0) + log1pexp(-2) + log1pexp(-1) + log1pexp(-0.5)) / 4
    assert guidance_loss(logits, ATTENTION, 0.05, 0.7).item() == pytest.approx(expected, rel=1e-6)


def test_only_sure_locations_are_taught():
    logits = torch.zeros(1, 1, 3, 3, requires_grad=True)
    guidance_loss(logits, ATTENTION, 0.05, 0.7).backward()
    assert (logits.grad != 0).tolist() == [[[[True, False, False], [False, False, True], [True, True, False]]]]
    assert logits.grad[0, 0, 1, 2] < 0 < logits.grad[0, 0, 0, 0]


def test_nothing_sure_is_zero_with_a_zero_gradient():
    logits = torch.randn(1, 1, 2, 2, requires_grad=True)
    loss = guidance_loss(logits, torch.full((1, 1, 2, 2), 0.5), 0.1, 0.9)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_attention_is_brought_to_the_branchs_size_and_is_no_path_for_gradients():
    attention = torch.zeros(1, 1, 2, 2, requires_grad=True)
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    assert guidance_loss(logits, attention, 0.1, 0.9).item() == pytest.approx(math.log(2))
    guidance_loss(logits, attention, 0.1, 0.9).backward()
    assert attention.grad is None


@pytest.mark.parametrize(('low', 'high'), [(0.7, 0.1), (0.5, 0.5), (-0.1, 0.5), (0.1, 1.2)])
def test_thresholds_in_order(low, high):
    with pytest.raises(ValueError, match='0 <= low < high <= 1'):
        guidance_targets(ATTENTION, low, high)
