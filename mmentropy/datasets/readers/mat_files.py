# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Arrays of numbers in Matlab's format 5 (up to 7.2), which the Oxford flowers' index files are in.

scipy reads much more of the format, in C, and a damaged file can end the process with a segmentation fault there. Here
everything is a slice of bytes.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

HEADER = 128
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8', 13: 'u8'}
#: Classes of arrays of numbers; the others are cells, structures, objects, text and sparse matrices.
NUMERIC_CLASSES = range(6, 16)
#: No index file is larger; a damaged one may say that it is.
MAX_BYTES = 1 << 28


def read_mat(data: bytes) -> dict[str, np.ndarray]:
    """Name → array of every variable that is a real array of numbers, as Matlab shapes it; others are left out.

    Raises:
        ValueError: if the bytes are no such file, or are cut off or damaged.
    """
    order = {b'IM': '<', b'MI': '>'}.get(data[HEADER - 2 : HEADER])
    if order is None:
        raise ValueError('no header of Matlab 5')
    arrays = {}
    for kind, body in _elements(data[HEADER:], order):
        if kind == COMPRESSED:
            try:
                body = zlib.decompressobj().decompress(body, MAX_BYTES)
            except zlib.error as error:
                raise ValueError(f'damaged compression, {error}') from None
            kind, body = next(_elements(body, order), (0, b''))
        if kind == MATRIX:
            variable = _matrix(body, order)
            if variable is not None:
                arrays[variable[0]] = variable[1]
    return arrays


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """(type, content) of the elements: a tag of 8 bytes and a content padded to 8, or both within 8 bytes."""
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise ValueError('cut off')
        kind, length = struct.unpack_from(f'{order}II', data, at)
        small = kind >> 16
        if small:
            kind, length, begin, end = kind & 0xFFFF, small, at + 4, at + 8
        else:
            begin = at + 8
            end = begin + length + (0 if kind == COMPRESSED else -length % 8)
        if begin + length > min(end, len(data)):
            raise ValueError('cut off')
        yield kind, data[begin : begin + length]
        at = end


def _numbers(element: tuple[int, bytes], order: str) -> np.ndarray:
    kind, body = element
    if kind not in NUMBERS or len(body) % int(NUMBERS[kind][1]):
        raise ValueError(f'{len(body)} bytes of type {kind} are no numbers')
    return np.frombuffer(body, order + NUMBERS[kind])


def _matrix(body: bytes, order: str) -> tuple[str, np.ndarray] | None:
    parts = list(_elements(body, order))
    if len(parts) < 3:
        raise ValueError('a matrix without its name')
    flags, shape = _numbers(parts[0], order), _numbers(parts[1], order).tolist()
    if not len(flags) or flags.dtype.kind != 'u':
        raise ValueError('a matrix without its class')
    is_complex = bool(int(flags[0]) & 0x0800)
    if int(flags[0]) & 0xFF not in NUMERIC_CLASSES or is_complex:
        return None
    if len(parts) < 4:
        raise ValueError('a matrix without its numbers')
    values = _numbers(parts[3], order)
    if len(shape) > 8 or any(not isinstance(n, int) or n < 0 for n in shape) or math.prod(shape) != len(values):
        raise ValueError(f'{len(values)} numbers for a matrix of the shape {shape}')
    return parts[2][1].decode('latin1'), values.reshape(shape, order='F')
