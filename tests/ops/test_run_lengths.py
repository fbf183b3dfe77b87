# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Run lengths against a walk over the pixels, there and back, and against texts that pycocotools wrote."""

from __future__ import annotations

import numpy as np
import pytest

from mmentropy.ops.run_lengths import compress_runs, decode_runs, encode_runs, expand_runs


def walk(mask: np.ndarray) -> list[int]:
    """Count, pixel by pixel."""
    counts, last = [0], False
    for x in range(mask.shape[1]):
        for y in range(mask.shape[0]):
            if bool(mask[y, x]) != last:
                counts.append(0)
                last = not last
            counts[-1] += 1
    return counts


@pytest.mark.parametrize('share', [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize('size', [(1, 1), (7, 5), (120, 90)])
def test_there_and_back(size, share):
    mask = np.random.default_rng(3).uniform(size=size) < share
    counts = encode_runs(mask)
    assert counts == walk(mask)
    np.testing.assert_array_equal(decode_runs(counts, size), mask)
    assert expand_runs(compress_runs(counts)) == counts


def test_the_format():
    """Worked out by hand from the format: five bits a letter, sign in the last, differences from the fourth on."""
    assert compress_runs([5]) == '5'
    assert compress_runs([15, 16]) == '?`0'  # 16 needs a second letter, else its highest bit would be a sign
    assert compress_runs([1, 2, 3, 1]) == '123O'  # the fourth is 1 - 2 = -1, whose five bits are all set
    assert expand_runs('123O') == [1, 2, 3, 1]
    big = [0, 2**31, 7, 3]
    assert expand_runs(compress_runs(big)) == big


def test_what_is_wrong():
    with pytest.raises(ValueError, match='two axes'):
        encode_runs(np.zeros(3))
    with pytest.raises(ValueError, match='run lengths sum to 5, a mask of'):
        decode_runs([2, 3], (2, 2))
    with pytest.raises(ValueError, match="' ' is no letter"):
        expand_runs('1 ')
    with pytest.raises(ValueError, match='cut off'):
        expand_runs('T')
