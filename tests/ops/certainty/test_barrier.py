# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import math

import pytest
import torch

from mmentropy.ops.certainty.barrier import area_barrier, extended_log_barrier


def by_hand(f: float, t: float) -> float:
    if f <= -1 / t**2:
        return -math.log(-f) / t
    return t * f - math.log(1 / t**2) / t + 1 / t


@pytest.mark.parametrize('t', [0.5, 1.0, 5.0, 10.0])
def test_both_branches_by_hand(t):
    values = [-3.0, -1.0, -1 / t**2, -0.5 / t**2, -1e-9, 0.0, 0.7]
    out = extended_log_barrier(torch.tensor(values, dtype=torch.float64), t)
    torch.testing.assert_close(out, torch.tensor([by_hand(f, t) for f in values], dtype=torch.float64))


@pytest.mark.parametrize('t', [1.0, 5.0, 7.3, 10.0])
def test_value_and_slope_are_continuous_at_the_edge(t):
    edge, step = -1 / t**2, 1e-9
    f = torch.tensor([edge - step, edge, edge + step], dtype=torch.float64, requires_grad=True)
    out = extended_log_barrier(f, t)
    (slope,) = torch.autograd.grad(out.sum(), f)
    assert abs(out[0] - out[2]).item() < 3 * t * step
    torch.testing.assert_close(slope, torch.full_like(slope, t), rtol=1e-5, atol=0)  # log: 1/(t/t²) = t; line: t


def test_slope_is_finite_everywhere_and_steeper_outside():
    f = torch.linspace(-1, 1, 41, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(extended_log_barrier(f, 5.0).sum(), f)
    assert torch.isfinite(slope).all()
    assert (slope.diff() >= -1e-12).all()  # convex
    assert slope.min() > 0
    assert slope.max() == 5


def test_gradcheck_on_both_sides():
    f = torch.tensor([-0.8, -0.2, -0.03, 0.0, 0.2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: extended_log_barrier(x, 5.0), (f,))


def test_t_as_a_tensor_and_a_wrong_t():
    f = torch.tensor([-0.5, 0.1])
    torch.testing.assert_close(extended_log_barrier(f, torch.tensor(6.0)), extended_log_barrier(f, 6.0))
    with pytest.raises(ValueError, match='sharpness t above 0, got 0'):
        extended_log_barrier(f, 0)


def test_area_barrier_by_hand():
    t, shares = 5.0, (0.5, 0.25, 0.9, 0.01, 0.0, 1.0)
    masks = torch.stack([torch.full((1, 4, 6), share, dtype=torch.float64) for share in shares])
    masks[1] = 0
    masks[1, 0, :, :3] = 0.5  # the area is what counts, not where it lies
    expected = torch.tensor([by_hand(-s, t) + by_hand(s - 1, t) for s in shares], dtype=torch.float64)
    out = area_barrier(masks, t)
    torch.testing.assert_close(out, expected)
    assert out.argmin() == 0  # half and half
    assert out[0].item() == pytest.approx(2 * math.log(2) / 5)
    # The same at any resolution.
    big = masks.repeat_interleave(3, 2).repeat_interleave(3, 3)
    torch.testing.assert_close(area_barrier(big, t), expected)


def test_empty_and_full_masks_are_pushed_back_with_slope_t():
    for value, sign in ((0.0, -1), (1.0, 1)):
        mask = torch.full((1, 1, 5, 5), value, requires_grad=True)
        area_barrier(mask, 8.0).sum().backward()
        # Each of 25 pixels has 1/25 of dψ/ds: the violated side's slope t against the free side's 1/t.
        torch.testing.assert_close(mask.grad.sum(), torch.tensor(sign * (8.0 - 1 / 8)))
