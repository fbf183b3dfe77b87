# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import numpy as np
import pytest

from mmentropy.ops.localization_errors import ERROR_TYPES, error_type

TRUTHS = np.array([[0, 0, 99, 99], [200, 200, 299, 299]])


@pytest.mark.parametrize(
    ('box', 'right', 'expected'),
    [
        ([0, 0, 99, 49], True, 'right'),  # IoU is exactly one half
        ([0, 0, 99, 48], True, 'box too small'),
        ([0, 0, 99, 49], False, 'wrong class'),
        ([210, 210, 240, 240], True, 'box too small'),
        ([0, 0, 199, 199], True, 'box too large'),
        ([60, 60, 159, 159], True, 'box misplaced'),
        ([60, 60, 159, 159], False, 'class and box wrong'),
        (None, True, 'box misplaced'),
        (None, False, 'class and box wrong'),
    ],
)
def test_kinds_of_mistakes(box, right, expected):
    assert expected in ERROR_TYPES
    assert error_type(None if box is None else np.array(box), TRUTHS, right) == expected
