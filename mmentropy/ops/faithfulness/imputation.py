# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Pixels that were removed, filled in from those around them: the sparse system of ROAD, solved for a batch at once.

Every removed pixel is the weighted mean of its neighbours inside the image (:math:`w = 1/6` beside it, :math:`1/12`
across the corner), removed or not: :math:`\sum_j w_{ij} (u_i - u_j) = 0`. That is a Laplace equation with the known
pixels as its border, symmetric and positive definite. It is solved by conjugate gradients, preconditioned by one cycle
of multigrid: ten to twenty iterations whatever the size of the hole, all images of the batch and all channels in the
same tensor operations.

Source: Rong et al., "A consistent and efficient evaluation strategy for attribution methods" (ROAD, ICML 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

#: Of the neighbours beside a pixel, and of those across its corners.
BESIDE, ACROSS = 1 / 6, 1 / 12
#: Jacobi steps are damped on the coarse levels, whose stencil is not ours any more.
DAMPING = 0.8
#: Joining four cells makes the system twice as stiff as the one that it stands for.
STIFFNESS = 2.0
#: Sweeps on the coarsest level.
COARSEST_SWEEPS = 8
MOST_ITERATIONS = 200


def impute(images: Tensor, removed: Tensor, tolerance: float = 1e-5) -> Tensor:
    """Fill removed pixels by the weighted means of their neighbours.

    Args:
        images: (N, C, H, W).
        removed: (N, H, W) bool; in each image at least one pixel stays.
        tolerance: the largest error that is left, relative to the first one, in the norm of the system's energy.

    Returns:
        (N, C, H, W): the images where nothing was removed, the solution elsewhere.

    Raises:
        ValueError: for other shapes, or an image of which nothing is left.

    >>> image = torch.tensor([[[[0.0, 9.0, 9.0, 3.0]]]])
    >>> impute(image, torch.tensor([[[False, True, True, False]]])).round(decimals=3)
    tensor([[[[0., 1., 2., 3.]]]])
    """
    if images.ndim != 4 or removed.shape != images.shape[:1] + images.shape[2:]:
        raise ValueError(
            f'removed must be (N, H, W) for images (N, C, H, W), got {tuple(removed.shape)} for {tuple(images.shape)}'
        )
    empty = removed.flatten(1).all(1).nonzero()
    if len(empty):
        raise ValueError(f'nothing is left of image {int(empty[0])} of the batch: there is nothing to fill it in from')
    out = images.clone()
    # A hole's solution does not depend on the others': images without one are left out, and those that are done leave.
    todo = removed.flatten(1).any(1).nonzero()[:, 0]
    if len(todo):
        out[todo] = _solve(images[todo].float(), removed[todo], tolerance).to(images.dtype)
    return out


def _neighbour_sum(u: Tensor) -> Tensor:
    """The weighted sum of the neighbours inside the image: ([1 2 1] ⊗ [1 2 1]) / 12 without its middle, 4 / 12."""
    padded = F.pad(u, (1, 1, 1, 1))
    lines = padded[..., :-2] + padded[..., 2:]
    lines.add_(padded[..., 1:-1], alpha=2)
    total = lines[..., :-2, :] + lines[..., 2:, :]
    total.add_(lines[..., 1:-1, :], alpha=2)
    return total.mul_(ACROSS).sub_(u, alpha=4 * ACROSS)


def _solve(images: Tensor, removed: Tensor, tolerance: float) -> Tensor:
    """Preconditioned conjugate gradients on images that have removed pixels; those that are done are set aside."""
    hole = removed[:, None].to(images.dtype)
    stiffness = _neighbour_sum(torch.ones_like(hole))  # the weight of the neighbours that exist
    known = images * (1 - hole)
    kept = (1 - hole).sum((2, 3), keepdim=True)
    u = hole * (known.sum((2, 3), keepdim=True) / kept) + known  # the mean of what is left, to begin with
    out = u.clone()
    active = torch.arange(len(images), device=images.device)
    grids = _levels(hole, stiffness)
    residual = hole * (_neighbour_sum(u) - stiffness * u)
    step, last, goal = torch.zeros_like(u), None, None
    for _ in range(MOST_ITERATIONS):
        direction = _cycle(grids, 0, residual)
        energy = (residual * direction).sum((2, 3), keepdim=True)
        if goal is None:
            goal = energy * tolerance**2
        running = (energy > goal).flatten(1).any(1)
        if not running.all():
            out[active[~running]] = u[~running]
            if not running.any():
                return out
            active, hole, stiffness = active[running], hole[running], stiffness[running]
            u, residual, direction, energy, goal = (t[running] for t in (u, residual, direction, energy, goal))
            grids = [grid.of(running) for grid in grids]
            step, last = step[running], None if last is None else last[running]
        # A channel that is constant needs nothing: its energy is 0, and so is its step.
        step = direction if last is None else direction + step * (energy / last.clamp(min=1e-38))
        last = energy
        bent = hole * (stiffness * step - _neighbour_sum(step))
        size = energy / (step * bent).sum((2, 3), keepdim=True).clamp(min=1e-38)
        u = u + size * step
        residual = residual - size * bent
    out[active] = u
    return out


@dataclass
class _Level:
    """A coarse system: 1 / diagonal, and the weights to the east, south, south-east and south-west, (N, 1, h, w)."""

    inverse: Tensor
    east: Tensor
    south: Tensor
    south_east: Tensor
    south_west: Tensor
    diagonal: Tensor

    @classmethod
    def of_weights(cls, weights: list[Tensor], diagonal: Tensor) -> _Level:
        """By the four weights in their order."""
        east, south, south_east, south_west = weights
        return cls(_inverse(diagonal), east, south, south_east, south_west, diagonal)

    def of(self, rows: Tensor) -> _Level:
        """The systems of some images."""
        return _Level(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def times(self, u: Tensor) -> Tensor:
        """A u."""
        out = self.diagonal * u
        for weight, (dy, dx) in zip((self.east, self.south, self.south_east, self.south_west), _OFFSETS):
            here, there = _shifted(dy, dx)
            out[here] -= weight[here] * u[there]
            out[there] -= weight[here] * u[here]
        return out

    def coarse(self) -> _Level:
        """Four cells joined to one: weights between them go, those to other fours add up."""
        height, width = self.diagonal.shape[2:]
        pad = (0, width % 2, 0, height % 2)

        def fold(weight: Tensor) -> Tensor:
            weight = F.pad(weight, pad)
            return weight.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (N, 1, h, y, w, x)

        east, south, down, up = (fold(w) for w in (self.east, self.south, self.south_east, self.south_west))
        inside = east[..., 0].sum(3) + south[:, :, :, 0].sum(4) + down[:, :, :, 0, :, 0] + up[:, :, :, 0, :, 1]
        diagonal = fold(self.diagonal).sum((3, 5)) - 2 * inside
        to_east = east[..., 1].sum(3) + down[:, :, :, 0, :, 1]
        # What goes south-west from the left column begins in the cell to the east of where it ends.
        to_east[..., :-1] += up[:, :, :, 0, 1:, 0]
        to_south = south[:, :, :, 1].sum(4) + down[:, :, :, 1, :, 0] + up[:, :, :, 1, :, 1]
        weights = (to_east, to_south, down[:, :, :, 1, :, 1], up[:, :, :, 1, :, 0])
        return _Level.of_weights([weight / STIFFNESS for weight in weights], diagonal / STIFFNESS)


_OFFSETS = ((0, 1), (1, 0), (1, 1), (1, -1))


def _shifted(dy: int, dx: int) -> tuple[tuple, tuple]:
    """Index of the cells that have a neighbour at (dy, dx), and of these neighbours."""
    rows = (slice(None, -dy or None), slice(dy, None))
    columns = (slice(max(-dx, 0), -dx if dx > 0 else None), slice(max(dx, 0), dx if dx < 0 else None))
    return (..., rows[0], columns[0]), (..., rows[1], columns[1])


def _inverse(diagonal: Tensor) -> Tensor:
    """1 / diagonal; 0 where there is no unknown."""
    return torch.where(diagonal > 1e-12, 1 / diagonal.clamp(min=1e-12), 0.0)


def _levels(hole: Tensor, stiffness: Tensor) -> list[_Level]:
    """The systems from the pixels up to a few cells."""
    weights = []
    for weight, (dy, dx) in zip((BESIDE, BESIDE, ACROSS, ACROSS), _OFFSETS):
        here, there = _shifted(dy, dx)
        one = torch.zeros_like(hole)
        one[here] = weight * hole[here] * hole[there]
        weights.append(one)
    diagonal = stiffness * hole
    levels = [_Level.of_weights(weights, diagonal)]
    while max(levels[-1].diagonal.shape[2:]) > 2:
        levels.append(levels[-1].coarse())
    return levels


def _cycle(levels: list[_Level], number: int, residual: Tensor) -> Tensor:
    """One symmetric cycle: an approximate solution of A u = residual."""
    level = levels[number]
    if number == len(levels) - 1:
        u = DAMPING * level.inverse * residual
        for _ in range(COARSEST_SWEEPS):
            u = u + DAMPING * level.inverse * (residual - level.times(u))
        return u
    damping = DAMPING if number else 1.0
    if number == 0:
        inside = level.inverse > 0

        def times(u: Tensor) -> Tensor:  # the weights of the pixels are known: no table is read
            return level.diagonal * u - _neighbour_sum(u).mul_(inside)

    else:
        times = level.times
    u = damping * level.inverse * residual
    rest = residual - times(u)
    height, width = rest.shape[2:]
    joined = F.avg_pool2d(rest, 2, ceil_mode=True, divisor_override=1)
    above = _cycle(levels, number + 1, joined)
    above = above.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., :height, :width]
    u = u + above * (level.inverse > 0)
    return u + damping * level.inverse * (residual - times(u))
