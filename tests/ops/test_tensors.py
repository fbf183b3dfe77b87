# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Tensors are told from all else, and torch is not loaded for it."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from mmentropy.ops.tensors import is_tensor


@pytest.mark.parametrize(
    ('value', 'expected'),
    [(torch.zeros(1), True), (torch.nn.Parameter(torch.zeros(1)), True), (np.zeros(1), False), (None, False)],
)
def test_which_is_a_tensor(value, expected):
    assert is_tensor(value) is expected


def test_torch_is_not_loaded():
    code = (
        'import sys, numpy as np\n'
        'from mmentropy.ops.tensors import is_tensor\n'
        'from mmentropy.ops.mapping.scaling import upsample_map\n'
        'print(is_tensor(3), upsample_map(np.eye(2), (1, 1)).shape, "torch" in sys.modules)'
    )
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ['False', '(1,', '1)', 'False']
