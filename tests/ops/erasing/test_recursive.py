# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import math

import pytest
import torch
from torch import Tensor

from mmentropy.ops.erasing.recursive import erasing_weight, expected_map, pseudo_threshold, recursive_erasing


def test_expected_map_by_hand():
    maps = torch.tensor([[[[1.0, 2.0]], [[10.0, 20.0]], [[100.0, 200.0]]]])
    scores = torch.tensor([[0.0, math.log(2), math.log(5)]])  # 1/8, 2/8, 5/8
    torch.testing.assert_close(expected_map(maps, scores), torch.tensor([[[[521 / 8, 1042 / 8]]]]))
    assert expected_map(maps.bfloat16(), scores.bfloat16()).dtype == torch.float32


def test_pseudo_threshold_by_hand_each_sample_with_its_own_range():
    soft = torch.tensor([[[[0.0, 1.0, 4.0]]], [[[-100.0, -90.0, -60.0]]]], dtype=torch.float64)
    mask = pseudo_threshold(soft, omega=8.0, sigma=0.5)
    row = [1 / (1 + math.exp(-8 * (x - 0.5))) for x in (0, 0.25, 1)]
    torch.testing.assert_close(mask, torch.tensor([[[row]], [[row]]], dtype=torch.float64))
    # A batch changes nothing: the released code's slip was to normalise over it.
    torch.testing.assert_close(pseudo_threshold(soft[:1]), mask[:1])


def test_pseudo_threshold_enlarges_first_then_normalises():
    soft = torch.rand(2, 1, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    big = torch.nn.functional.interpolate(soft, size=(13, 9), mode='bilinear')
    low, high = big.flatten(1).min(1).values, big.flatten(1).max(1).values
    expected = torch.stack(
        [1 / (1 + torch.exp(-6 * ((b - lo) / (hi - lo) - 0.3))) for b, lo, hi in zip(big, low, high)]
    )
    torch.testing.assert_close(pseudo_threshold(soft, (13, 9), 6.0, 0.3), expected)


@pytest.mark.parametrize('value', [0.0, 3.5, -1e6])
def test_a_constant_map_gives_a_finite_mask_and_gradient(value):
    soft = torch.full((2, 1, 4, 4), value, requires_grad=True)
    mask = pseudo_threshold(soft, (8, 8))
    torch.testing.assert_close(mask, torch.full_like(mask, 1 / (1 + math.exp(4))))
    mask.sum().backward()
    assert torch.isfinite(soft.grad).all()


def test_pseudo_threshold_gradient():
    soft = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pseudo_threshold(x, (5, 7)), (soft,))


def test_mask_in_half_precision_is_float32():
    soft = torch.rand(1, 1, 4, 4).bfloat16()
    assert pseudo_threshold(soft).dtype == torch.float32


def test_erasing_weight_by_hand():
    right = torch.tensor([True, False, True])
    psi = erasing_weight(
        3, 10.0, right, torch.tensor([0.4, 0.1, 0.6]), torch.tensor([0.5] * 3), torch.tensor([0.8, 0.9, 0.7])
    )
    torch.testing.assert_close(psi, torch.tensor([math.exp(-0.3) * 0.8, 0.0, 0.0]))
    same = erasing_weight(0, torch.tensor(10.0), right[:1], torch.ones(1), torch.ones(1), torch.ones(1))
    assert same.item() == 1  # not worse than the first pass, which is itself


def scripted(plan: list[list[tuple[int, float, float]]], classes: int = 3):
    """A localizer that plays a plan: of pass t and sample b the class it finds, its probability and its mask."""
    calls: list[Tensor] = []

    def localize(images: Tensor) -> tuple[Tensor, Tensor]:
        rows = plan[len(calls)]
        calls.append(images)
        scores = torch.empty(len(rows), classes, dtype=torch.float64)
        for b, (found, p, _) in enumerate(rows):
            scores[b] = math.log((1 - p) / (classes - 1))
            scores[b, found] = math.log(p)
        masks = torch.tensor([m for _, _, m in rows], dtype=torch.float64).view(-1, 1, 1, 1)
        return scores, masks.expand(-1, 1, *images.shape[2:])

    return localize, calls


IMAGES = torch.ones(3, 2, 2, 2, dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2])
#: Sample 0 is right throughout; 1 goes wrong in pass 1 and would be right in pass 2; 2 is wrong from the start.
PLAN = [
    [(0, 0.6, 0.5), (1, 0.9, 0.4), (0, 0.8, 0.7)],
    [(0, 0.7, 0.8), (0, 0.9, 0.9), (2, 0.9, 0.9)],
    [(0, 0.8, 0.9), (1, 0.99, 0.9), (2, 0.9, 0.9)],
]


def test_recursive_erasing_by_hand():
    localize, calls = scripted(PLAN)
    out = recursive_erasing(IMAGES, LABELS, localize, steps=3, sigma=10.0)
    psi0, psi1, psi2 = 0.6, math.exp(-0.1) * 0.7, math.exp(-0.2) * 0.8
    expected = torch.tensor([[psi0, psi1, psi2], [0.9, 0, 0], [0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(out.weights, expected)
    first = max(psi0 * 0.5, psi1 * 0.8, psi2 * 0.9)
    torch.testing.assert_close(out.mask[:, 0, 0, 0], torch.tensor([first, 0.9 * 0.4, 0.0], dtype=torch.float64))
    # What each pass saw: the pixels left of the pass before.
    r0 = psi0 * 0.5
    r1 = max(r0, psi1 * 0.8)
    seen = [images[0, 0, 0, 0].item() for images in calls]
    assert seen == pytest.approx([1, 1 - r0, (1 - r0) * (1 - r1)])
    assert (calls[2][2] == 1).all()  # nothing erased where nothing was found
    # Sample 1 and 2 are out after their first wrong pass, which still counts.
    losses = [-math.log(0.6) - math.log(0.7) - math.log(0.8), -math.log(0.9) - math.log(0.05), -math.log(0.1)]
    torch.testing.assert_close(out.losses, torch.tensor(losses, dtype=torch.float64))
    assert out.passes == 3


def test_weight_is_zero_from_the_first_wrong_pass_on():
    localize, _ = scripted(PLAN)
    weights = recursive_erasing(IMAGES, LABELS, localize, 3).weights
    assert weights[1].tolist() == [pytest.approx(0.9), 0, 0]  # right again in pass 2, to no avail


def test_a_pass_that_is_less_sure_than_the_first_adds_no_mask():
    localize, _ = scripted([[(0, 0.8, 0.3)], [(0, 0.6, 0.9)], [(0, 0.9, 0.6)]])
    out = recursive_erasing(IMAGES[:1], LABELS[:1], localize, 3)
    assert out.weights[0].tolist() == pytest.approx([0.8, 0, math.exp(-0.2) * 0.9])


def test_initial_mask_keeps_the_first_mask_whole():
    localize, _ = scripted(PLAN)
    out = recursive_erasing(IMAGES, LABELS, localize, 3, initial='mask')
    torch.testing.assert_close(
        out.mask[:, 0, 0, 0], torch.tensor([math.exp(-0.2) * 0.8 * 0.9, 0.4, 0.7], dtype=torch.float64)
    )


def test_no_step_is_one_plain_pass():
    localize, calls = scripted(PLAN)
    out = recursive_erasing(IMAGES, LABELS, localize, 0)
    assert out.mask[:, 0, 0, 0].tolist() == [0.5, 0.4, 0.7]
    torch.testing.assert_close(
        out.losses, torch.tensor([-math.log(0.6), -math.log(0.9), -math.log(0.1)], dtype=torch.float64)
    )
    assert (out.passes, len(calls)) == (1, 1)


def test_stops_when_no_sample_is_left_and_that_changes_nothing():
    wrong = [[(1, 0.5, 0.3), (2, 0.5, 0.3), (0, 0.5, 0.3)]] * 4
    results = []
    for stop, passes in ((True, 1), (False, 4)):
        localize, calls = scripted(wrong)
        out = recursive_erasing(IMAGES, LABELS, localize, 4, stop_early=stop)
        assert len(calls) == out.passes == passes
        results.append(out)
    assert (results[0].mask == 0).all()
    assert torch.equal(results[0].mask, results[1].mask)
    assert torch.equal(results[0].losses, results[1].losses)


def test_gradients_take_the_paths_that_are_documented():
    """A linear localizer: with ``through_images`` pass 0's mask also feels pass 1's loss, without it it does not."""
    images = torch.ones(1, 1, 1, 2, dtype=torch.float64)
    w = torch.tensor([1.0, 0.5], dtype=torch.float64, requires_grad=True)

    def localize(x: Tensor) -> tuple[Tensor, Tensor]:
        s = (x * w).sum((1, 2, 3))
        return torch.stack([s, torch.zeros_like(s)], 1), torch.sigmoid(x * w)

    def total(through: bool) -> Tensor:
        out = recursive_erasing(images, torch.zeros(1, dtype=torch.long), localize, 2, through_images=through)
        return out.losses.sum() + out.mask.sum()

    (through,) = torch.autograd.grad(total(True), w)
    numeric = []
    for i in range(2):
        delta = torch.zeros_like(w)
        delta[i] = 1e-6
        with torch.no_grad():
            w += delta
            high = total(True)
            w -= 2 * delta
            low = total(True)
            w += delta
        numeric.append((high - low).item() / 2e-6)
    assert through.tolist() == pytest.approx(numeric, rel=1e-6)
    (cut,) = torch.autograd.grad(total(False), w)
    assert not torch.allclose(cut, through)


def test_wrong_options():
    localize, _ = scripted(PLAN)
    with pytest.raises(ValueError, match='0 or more steps, got -1'):
        recursive_erasing(IMAGES, LABELS, localize, -1)
    with pytest.raises(ValueError, match="initial must be 'zero' or 'mask', got 'one'"):
        recursive_erasing(IMAGES, LABELS, localize, 1, initial='one')
