# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Masks as COCO's run lengths: how many zeros, ones, zeros … follow one another, column by column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def encode_runs(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of a mask, beginning with zeros (perhaps none of them).

    Args:
        mask: (H, W), true on the object.

    Returns:
        lengths that sum to H · W, pixels taken column by column from the top, as in COCO.

    >>> encode_runs(np.array([[0, 1], [1, 1]]))
    [1, 3]
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f'a mask has two axes, got {mask.shape}')
    flat = mask.astype(bool).ravel(order='F')
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], ends, [flat.size]]) if flat.size else np.array([0, 0])
    lengths = np.diff(edges).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def decode_runs(counts: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool of :func:`encode_runs`.

    Raises:
        ValueError: if the lengths do not sum to H · W, or one is negative.

    >>> decode_runs([1, 3], (2, 2)).astype(int).tolist()
    [[0, 1], [1, 1]]
    """
    if min(counts, default=0) < 0 or sum(counts) != size[0] * size[1]:
        raise ValueError(f'run lengths sum to {sum(counts)}, a mask of {tuple(size)} has {size[0] * size[1]} pixels')
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size, order='F')


def compress_runs(counts: Sequence[int]) -> str:
    """COCO's short text of run lengths, as ``pycocotools`` reads it.

    From the fourth on the difference to the length two before; in base 32 with a sign, five bits a letter, low bits
    first.

    >>> compress_runs([1, 3]), compress_runs([0, 100])
    ('13', '0T3')
    """
    letters = []
    for i, count in enumerate(counts):
        value = int(count) - (int(counts[i - 2]) if i > 2 else 0)
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            letters.append(chr((bits | 0x20 if more else bits) + 48))
    return ''.join(letters)


def expand_runs(text: str) -> list[int]:
    """The run lengths of :func:`compress_runs`.

    Raises:
        ValueError: for a letter that does not occur in such a text, or one that is cut off.

    >>> expand_runs('0T3')
    [0, 100]
    """
    counts: list[int] = []
    value, shift = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise ValueError(f'{letter!r} is no letter of compressed run lengths')
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        value -= (bits & 0x10) << (shift - 4)
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError('compressed run lengths are cut off')
    return counts
