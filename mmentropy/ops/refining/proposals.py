# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Class-agnostic masks: run lengths of COCO, and their vote by class scores.

A mask takes the mean of the scores in it, :math:`\bar s_{mc} = \frac1{|m|} \sum_{i \in m} s_c(i)`; a pixel takes the
weighted mean of the masks that hold it, :math:`s'_c(i) = \sum_{m \ni i} w_m \bar s_{mc} / \sum_{m \ni i} w_m`, with
:math:`w_m = q_m |m|^{-p}`: *q* is the quality that the file gives, and p > 0 trusts small masks more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def decode_run_lengths(counts: str | bytes | Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """A mask from COCO's run lengths: column by column, zeros first.

    Args:
        counts: whole numbers, or COCO's compressed text: each number is the difference to the one two before (from the
            fourth on), in groups of five bits, lowest first, plus 48.
        size: (height, width).

    Returns:
        (H, W) bool.

    Raises:
        ValueError: for text that is cut, or runs that do not fill the mask.

    >>> decode_run_lengths([1, 2, 1], (2, 2)).astype(int)
    array([[0, 1],
           [1, 0]])
    >>> decode_run_lengths('121', (2, 2)).astype(int)
    array([[0, 1],
           [1, 0]])
    """
    runs = _numbers(counts) if isinstance(counts, str | bytes) else [int(count) for count in counts]
    if any(run < 0 for run in runs) or sum(runs) != size[0] * size[1]:
        raise ValueError(f'run lengths of {sum(runs)} pixels do not fill a mask of {size[0]}×{size[1]}')
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return values.reshape(size[1], size[0]).T


def _numbers(text: str | bytes) -> list[int]:
    """COCO's compressed run lengths."""
    data = text.encode() if isinstance(text, str) else text
    runs: list[int] = []
    value, shift = 0, 0
    for byte in data:
        group = byte - 48
        if not 0 <= group < 64:
            raise ValueError(f'run lengths hold the character {chr(byte)!r}')
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            if group & 16:  # the highest bit of the last group is the sign
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value, shift = 0, 0
    if shift:
        raise ValueError('run lengths end within a number')
    return runs


def vote(
    scores: np.ndarray, masks: np.ndarray, quality: np.ndarray | None = None, power: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Scores after the vote of masks; see the formula of this module.

    Args:
        scores: (C, H, W).
        masks: (M, H, W) bool; empty ones count nothing.
        quality: (M,) ≥ 0; None is 1 for all.
        power: p.

    Returns:
        (C, H, W) float32 scores, as they were where no mask is, and (H, W) bool, where one is.

    Raises:
        ValueError: for masks of another size.

    >>> scores, masks = np.array([[[1.0, 3.0, 5.0]]]), np.array([[[True, True, False]]])
    >>> vote(scores, masks)[0].tolist()
    [[[2.0, 2.0, 5.0]]]
    """
    if masks.shape[1:] != scores.shape[1:]:
        raise ValueError(f'masks of {masks.shape[1:]} cannot vote on scores of {scores.shape[1:]}')
    flat = scores.reshape(len(scores), -1).astype(np.float64)
    total, weight = np.zeros_like(flat), np.zeros(flat.shape[1])
    for i, mask in enumerate(masks.reshape(len(masks), flat.shape[1])):
        area = int(mask.sum())
        own = 1.0 if quality is None else float(quality[i])
        if not area or own <= 0:
            continue
        own *= float(area) ** -power
        total[:, mask] += own * flat[:, mask].mean(1, keepdims=True)
        weight[mask] += own
    covered = weight > 0
    out = np.where(covered, total / np.where(covered, weight, 1), flat)
    return out.reshape(scores.shape).astype(np.float32), covered.reshape(scores.shape[1:])
