# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import io

import numpy as np
import pytest
from scipy.io import savemat

from mmentropy.datasets.readers.mat_files import read_mat

ARRAYS = {
    'labels': np.array([[77, 1, 102, 3]], np.uint8),
    'd': np.arange(12.0).reshape(3, 4),
    'cube': np.arange(24, dtype=np.int16).reshape(2, 3, 4) - 9,
    'long_name_of_a_variable': np.array([[2**40]], np.int64),
    'empty': np.zeros((0, 0)),
    'f': np.float32([[0.5]]),
}


def written(compress: bool) -> bytes:
    buffer = io.BytesIO()
    strangers = {'text': 'abc', 'cell': np.array(['a', 1], object), 'struct': {'a': 1}, 'c': np.array([[1j]])}
    savemat(buffer, ARRAYS | strangers, do_compression=compress)
    return buffer.getvalue()


@pytest.mark.parametrize('compress', [False, True])
def test_what_scipy_wrote(compress):
    found = read_mat(written(compress))
    assert set(found) == set(ARRAYS)  # text, cells, structures and complex numbers are left out
    for name, value in ARRAYS.items():
        np.testing.assert_array_equal(found[name], value)


def test_the_other_byte_order():
    little = written(False)
    matrix = np.array([14, 56], '>u4').tobytes()  # flags, shape (1, 2), name x, two numbers
    matrix += np.array([6, 8, 9, 0, 5, 8, 1, 2], '>u4').tobytes()
    matrix += np.array([(1 << 16) | 1], '>u4').tobytes() + b'x\0\0\0'  # a name within its tag
    matrix += np.array([4, 4], '>u4').tobytes() + np.array([7, 300, 0, 0], '>u2').tobytes()
    found = read_mat(little[:124] + b'\x01\x00MI' + matrix)
    np.testing.assert_array_equal(found['x'], [[7, 300]])


@pytest.mark.parametrize('compress', [False, True])
def test_every_cut_is_noticed_or_leaves_whole_variables(compress):
    data = written(compress)
    for end in range(0, len(data), 7):
        try:
            found = read_mat(data[:end])
        except ValueError:
            continue
        for name, value in found.items():
            np.testing.assert_array_equal(value, ARRAYS[name])
