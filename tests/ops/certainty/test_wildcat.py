# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import pytest
import torch

from mmentropy.ops.certainty.wildcat import positions, wildcat_pool


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def oracle(maps: torch.Tensor, top: int, bottom: int, alpha: float) -> torch.Tensor:
    """Sort the locations with Python, add up by hand."""
    out = torch.empty(maps.shape[:2], dtype=maps.dtype)
    for b in range(len(maps)):
        for c in range(maps.shape[1]):
            values = sorted(maps[b, c].flatten().tolist(), reverse=True)
            low = sum(values[-bottom:]) / bottom if bottom else 0.0
            out[b, c] = sum(values[:top]) / top + alpha * low
    return out


@pytest.mark.parametrize(
    ('kmax', 'kmin', 'alpha', 'top', 'bottom'),
    [(1, 0, 0.0, 1, 0), (4, 3, 0.6, 4, 3), (0.1, 0.25, 1.0, 2, 5), (0.09, 0, 0.7, 2, 0), (99, 99, 0.5, 20, 20)],
)
def test_equals_sorting_by_hand(maps, kmax, kmin, alpha, top, bottom):
    torch.testing.assert_close(wildcat_pool(maps, kmax, kmin, alpha), oracle(maps, top, bottom, alpha))


def test_limits_are_max_and_average_pooling(maps):
    torch.testing.assert_close(wildcat_pool(maps, 1), maps.amax((2, 3)))
    torch.testing.assert_close(wildcat_pool(maps, 1.0), maps.mean((2, 3)))
    # The lowest locations of z are the highest of −z.
    both = wildcat_pool(maps, 5, 5, 1.0)
    torch.testing.assert_close(both, wildcat_pool(maps, 5) - wildcat_pool(-maps, 5))


def test_does_not_care_for_the_order_of_the_locations(maps):
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    shuffled = maps.flatten(2)[..., order].view_as(maps)
    torch.testing.assert_close(wildcat_pool(shuffled, 0.3, 0.2, 0.5), wildcat_pool(maps, 0.3, 0.2, 0.5))


def test_gradient(maps):
    maps.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: wildcat_pool(x, 3, 2, 0.7), (maps,))
    wildcat_pool(maps, 4).sum().backward()
    assert ((maps.grad == 0) | (maps.grad == 0.25)).all()
    assert (maps.grad != 0).flatten(2).sum(-1).eq(4).all()


def test_one_location_and_half_precision():
    one = torch.tensor([[[[2.5]]]])
    assert wildcat_pool(one, 0.09, 0.09, 1.0).item() == 5.0
    half = wildcat_pool(torch.arange(16.0).view(1, 1, 4, 4).bfloat16(), 4)
    assert half.dtype == torch.bfloat16
    assert half.item() == 13.5


def test_nan_in_one_map_stays_in_it(maps):
    maps[0, 1, 2, 3] = float('nan')
    out = wildcat_pool(maps, 0.2)
    assert out.isnan().sum() == 1
    assert out[0, 1].isnan()


def test_positions():
    assert [positions(k, 100) for k in (0, 1, 7, 200, 0.09, 1e-6, 1.0)] == [0, 1, 7, 100, 9, 1, 100]
    for wrong in (-1, -0.5, 1.5):
        with pytest.raises(ValueError, match='kmin is a count of locations'):
            positions(wrong, 100, 'kmin')
    with pytest.raises(ValueError, match='kmax must select at least one location'):
        wildcat_pool(torch.zeros(1, 1, 2, 2), 0)
