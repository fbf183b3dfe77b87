# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Pixels that were removed, filled in from those around them: the sparse system of ROAD.

Every removed pixel is the weighted mean of its neighbours inside the image (:math:`w = 1/6` beside it, :math:`1/12`
across the corner), removed or not: :math:`\sum_j w_{ij} (u_i - u_j) = 0`. That is a Laplace equation with the known
pixels as its border, symmetric and positive definite. It is solved by conjugate gradients, preconditioned by one cycle
of multigrid: some twenty iterations whatever the size of the hole, each of them a few passes over the image.

Source: Rong et al., "A consistent and efficient evaluation strategy for attribution methods" (ROAD, ICML 2022).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from mmentropy.ops.jit import F32, announce_compilation, jit

#: Of the neighbours beside a pixel, and of those across its corners.
BESIDE, ACROSS = 1 / 6, 1 / 12
#: Jacobi steps are damped on the coarse levels, whose stencil is not ours any more.
DAMPING = 0.8
#: Joining four cells makes the system twice as stiff as the one that it stands for.
STIFFNESS = 2.0
#: Sweeps on the coarsest level, which has at most so many cells on a side.
COARSEST_SWEEPS, COARSEST_SIDE = 8, 2
MOST_ITERATIONS = 200


def impute(images: Tensor, removed: Tensor, tolerance: float = 1e-5) -> Tensor:
    """Fill removed pixels by the weighted means of their neighbours.

    The work is done on the CPU, an image a thread, by as many threads as torch has.

    Args:
        images: (N, C, H, W), on any device.
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
    out = np.array(images.detach().cpu(), np.float32, order='C')
    holes = np.ascontiguousarray(removed.cpu().numpy(), np.float32)
    announce_compilation(_fill)
    todo = [i for i, hole in enumerate(holes) if hole.any()]
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as threads:
        list(threads.map(lambda i: _fill(out[i], holes[i], tolerance), todo))
    return torch.from_numpy(out).to(images)


@jit(nogil=True, fastmath=True)
def _fill(image: F32, hole: F32, tolerance: float) -> None:
    """Solve for the removed pixels of one image (C, H, W), in place; ``hole`` (H, W) is 1 where they are."""
    channels, height, width = image.shape
    # A border of zeros, so that no pass asks where the image ends.
    inside = np.zeros((height + 2, width + 2), np.float32)
    inside[1:-1, 1:-1] = hole
    ones = np.zeros((height + 2, width + 2), np.float32)
    ones[1:-1, 1:-1] = 1
    stiffness = np.zeros_like(inside)
    _neighbours(ones, ones, stiffness)
    inverse = np.zeros_like(inside)
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            if inside[y, x] > 0:
                inverse[y, x] = 1 / stiffness[y, x]
    sizes, tables = _coarse_levels(inside, stiffness)
    u, residual, direction = np.zeros_like(inside), np.zeros_like(inside), np.zeros_like(inside)
    step, bent, scratch = np.zeros_like(inside), np.zeros_like(inside), np.zeros_like(inside)
    fields = np.zeros((3, len(sizes), tables.shape[2], tables.shape[3]), np.float32)
    for c in range(channels):
        total = np.float64(0)
        for y in range(height):
            for x in range(width):
                total += image[c, y, x] * (1 - hole[y, x])
        mean = np.float32(total / (height * width - hole.sum()))  # of what is left, to begin with
        u[1:-1, 1:-1] = image[c] * (1 - hole) + mean * hole
        _neighbours(u, inside, residual)
        for y in range(1, height + 1):
            for x in range(1, width + 1):
                residual[y, x] -= inside[y, x] * stiffness[y, x] * u[y, x]
        step[:] = 0
        last, goal = np.float32(0), np.float32(0)
        for iteration in range(MOST_ITERATIONS):
            _cycle(inside, inverse, residual, sizes, tables, fields, scratch, direction)
            energy = _dot(residual, direction)
            if iteration == 0:
                goal = energy * np.float32(tolerance * tolerance)
            if energy <= goal:
                break
            share = energy / last if iteration else np.float32(0)
            last = energy
            for y in range(1, height + 1):
                for x in range(1, width + 1):
                    step[y, x] = direction[y, x] + share * step[y, x]
            _neighbours(step, inside, bent)
            for y in range(1, height + 1):
                for x in range(1, width + 1):
                    bent[y, x] = stiffness[y, x] * step[y, x] - bent[y, x]
            size = energy / _dot(step, bent)
            for y in range(1, height + 1):
                for x in range(1, width + 1):
                    u[y, x] += size * step[y, x]
                    residual[y, x] -= size * bent[y, x]
        for y in range(height):
            for x in range(width):
                if hole[y, x] > 0:
                    image[c, y, x] = u[y + 1, x + 1]


@jit(nogil=True, fastmath=True)
def _neighbours(u: F32, inside: F32, out: F32) -> None:
    """The weighted sum of each pixel's neighbours, where ``inside`` is 1, else 0."""
    beside, across = np.float32(BESIDE), np.float32(ACROSS)
    for y in range(1, u.shape[0] - 1):
        for x in range(1, u.shape[1] - 1):
            near = u[y - 1, x] + u[y + 1, x] + u[y, x - 1] + u[y, x + 1]
            far = u[y - 1, x - 1] + u[y - 1, x + 1] + u[y + 1, x - 1] + u[y + 1, x + 1]
            out[y, x] = inside[y, x] * (beside * near + across * far)


@jit(nogil=True, fastmath=True)
def _dot(a: F32, b: F32) -> np.float32:
    total = np.float64(0)
    for y in range(a.shape[0]):
        line = np.float32(0)
        for x in range(a.shape[1]):
            line += a[y, x] * b[y, x]
        total += line
    return np.float32(total)


@jit(nogil=True)
def _coarse_levels(inside: F32, stiffness: F32):  # type: ignore[no-untyped-def]
    """The systems above the pixels: sizes (L, 2), and (L, 6, h + 2, w + 2) tables with a border of zeros.

    A table holds 1 / diagonal, the diagonal, and the weights to the east, south, south-east and south-west. Four cells
    are joined to one: weights between them go, those to other fours add up.
    """
    height, width = inside.shape[0] - 2, inside.shape[1] - 2
    count, h, w = 0, height, width
    while count == 0 or max(h, w) > COARSEST_SIDE:
        h, w, count = (h + 1) // 2, (w + 1) // 2, count + 1
    sizes = np.zeros((count, 2), np.int64)
    tables = np.zeros((count, 6, (height + 1) // 2 + 2, (width + 1) // 2 + 2), np.float32)
    for level in range(count):
        below = (height, width) if level == 0 else (sizes[level - 1, 0], sizes[level - 1, 1])
        sizes[level] = (below[0] + 1) // 2, (below[1] + 1) // 2
        new = tables[level]
        for y in range(1, below[0] + 1):
            for x in range(1, below[1] + 1):
                if level == 0:
                    if inside[y, x] == 0:
                        continue
                    diagonal = stiffness[y, x]
                    east, south = BESIDE * inside[y, x + 1], BESIDE * inside[y + 1, x]
                    down, up = ACROSS * inside[y + 1, x + 1], ACROSS * inside[y + 1, x - 1]
                else:
                    old = tables[level - 1]
                    diagonal, east, south = old[1, y, x], old[2, y, x], old[3, y, x]
                    down, up = old[4, y, x], old[5, y, x]
                here_y, here_x = (y + 1) // 2, (x + 1) // 2
                new[1, here_y, here_x] += diagonal
                for kind in range(4):
                    weight = (east, south, down, up)[kind]
                    there_y = (y + (kind > 0) + 1) // 2
                    there_x = (x + (1, 0, 1, -1)[kind] + 1) // 2
                    if weight == 0:
                        continue
                    if there_y == here_y and there_x == here_x:
                        new[1, here_y, here_x] -= 2 * weight
                    elif there_y == here_y and there_x > here_x:
                        new[2, here_y, here_x] += weight
                    elif there_y == here_y:  # south-west into the four to the west: kept from there to the east
                        new[2, here_y, there_x] += weight
                    elif there_x == here_x:
                        new[3, here_y, here_x] += weight
                    elif there_x > here_x:
                        new[4, here_y, here_x] += weight
                    else:
                        new[5, here_y, here_x] += weight
        new[1:] /= np.float32(STIFFNESS)
        for y in range(1, sizes[level, 0] + 1):
            for x in range(1, sizes[level, 1] + 1):
                if new[1, y, x] > 1e-12:
                    new[0, y, x] = 1 / new[1, y, x]
    return sizes, tables


@jit(nogil=True, fastmath=True)
def _rest(table: F32, h: int, w: int, u: F32, right: F32, out: F32) -> None:
    """right − A u of a coarse level."""
    diagonal, east, south, down, up = table[1], table[2], table[3], table[4], table[5]
    for y in range(1, h + 1):
        for x in range(1, w + 1):
            out[y, x] = (
                right[y, x]
                - diagonal[y, x] * u[y, x]
                + east[y, x] * u[y, x + 1]
                + east[y, x - 1] * u[y, x - 1]
                + south[y, x] * u[y + 1, x]
                + south[y - 1, x] * u[y - 1, x]
                + down[y, x] * u[y + 1, x + 1]
                + down[y - 1, x - 1] * u[y - 1, x - 1]
                + up[y, x] * u[y + 1, x - 1]
                + up[y - 1, x + 1] * u[y - 1, x + 1]
            )


@jit(nogil=True, fastmath=True)
def _cycle(inside, inverse, residual, sizes, tables, fields, scratch, out) -> None:  # type: ignore[no-untyped-def]
    """One symmetric cycle from the pixels up and down again: ``out`` is about A⁻¹ residual.

    ``fields`` (3, L, h + 2, w + 2) are the levels' right sides, solutions and rests; ``scratch`` has the pixels' size.
    """
    rights, solutions, rests = fields[0], fields[1], fields[2]
    height, width = inside.shape[0] - 2, inside.shape[1] - 2
    damping, top = np.float32(DAMPING), len(sizes) - 1
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            out[y, x] = inverse[y, x] * residual[y, x]
    # Behind a full Jacobi step what is left is the sum of the neighbours.
    _neighbours(out, inside, scratch)
    for level in range(len(sizes)):
        h, w = sizes[level]
        right, solution, table = rights[level], solutions[level], tables[level]
        right[1 : h + 1, 1 : w + 1] = 0
        below = scratch if level == 0 else rests[level - 1]
        low_h, low_w = (height, width) if level == 0 else (sizes[level - 1, 0], sizes[level - 1, 1])
        for y in range(1, low_h + 1):
            for x in range(1, low_w + 1):
                right[(y + 1) // 2, (x + 1) // 2] += below[y, x]
        for y in range(1, h + 1):
            for x in range(1, w + 1):
                solution[y, x] = damping * table[0, y, x] * right[y, x]
        sweeps = COARSEST_SWEEPS if level == top else 0
        for _ in range(sweeps):
            _rest(table, h, w, solution, right, rests[level])
            for y in range(1, h + 1):
                for x in range(1, w + 1):
                    solution[y, x] += damping * table[0, y, x] * rests[level, y, x]
        _rest(table, h, w, solution, right, rests[level])
    for level in range(top - 1, -1, -1):
        h, w = sizes[level]
        solution, table = solutions[level], tables[level]
        for y in range(1, h + 1):
            for x in range(1, w + 1):
                if table[0, y, x] > 0:
                    solution[y, x] += solutions[level + 1, (y + 1) // 2, (x + 1) // 2]
        _rest(table, h, w, solution, rights[level], rests[level])
        for y in range(1, h + 1):
            for x in range(1, w + 1):
                solution[y, x] += damping * table[0, y, x] * rests[level, y, x]
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            out[y, x] += inside[y, x] * solutions[0, (y + 1) // 2, (x + 1) // 2]
    _neighbours(out, inside, scratch)
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            out[y, x] = inverse[y, x] * (residual[y, x] + scratch[y, x])
