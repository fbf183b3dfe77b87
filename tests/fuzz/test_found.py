# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Files on which readers once failed with something that they do not document; each is now one sentence."""

from __future__ import annotations

import io
import pickle
import struct
import zlib

import numpy as np
import pytest
from reader_cases import CASES, check, npy, npz, picture
from scipy.io import savemat


def npy_with_header(header: bytes) -> bytes:
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header


def huge_png() -> bytes:
    """A sound header that speaks of 2³¹ − 1 pixels a side."""
    header = b'IHDR' + struct.pack('>IIBBBBB', 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0)
    end = b'IEND'
    chunks = (struct.pack('>I', len(body) - 4) + body + struct.pack('>I', zlib.crc32(body)) for body in (header, end))
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunks)


def mat(**variables: object) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, variables)
    return buffer.getvalue()


def unknown_compression(archive: bytes) -> bytes:
    at = archive.index(b'PK\x01\x02') + 10  # in the directory at the zip's end
    return archive[:at] + b'\x63' + archive[at + 1 :]


HEADER_OF_TYPES = b"{1: 2, 'a': 3}"
FOUND = [
    ('predictions', 'p.csv', b'a.jpg,' + b'1' * 200_000),  # _csv.Error: larger than the field limit
    ('predictions', 'p.csv', b'\xff,1\n'),  # UnicodeDecodeError without the file's name
    ('voc xml', 'a.xml', b'<?xml version="1.0" encoding="nonsense"?><annotation/>'),  # LookupError
    ('voc xml', 'a.xml', b'<?xml version="1.0" encoding="utf-7"?><annotation/>'),  # ValueError without the file's name
    ('thresholds', 't.json', b'[' * 100_000),  # RecursionError
    ('manifest', 'm.json', b'[' * 100_000),
    ('manifest', 'm.json', b'[]'),  # came through, and failed where it was used
    ('json', 'm.json', b'{"a": ' + b'9' * 5000 + b'}'),
    ('map npy', 'a.npy', npy_with_header(b"{'descr': '<f4', 'shape': (2,")),  # tokenize.TokenError
    ('map npy', 'a.npy', npy_with_header(HEADER_OF_TYPES)),  # TypeError: keys that cannot be sorted
    ('map npy', 'a.npy', npy_with_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999,)}")),
    ('map npz', 'a.npz', unknown_compression(npz(cam=np.zeros((5, 5))))),  # NotImplementedError
    ('map png', 'a.png', huge_png()),  # cv2.error
    ('label png', 'a.png', huge_png()),  # DecompressionBombError
    ('masks', 'mask.png', huge_png()),
    ('masks', 'mask.png', picture('PNG', 'I;16')),  # cv2.error: resize of 32-bit integers; and values above 255
    ('photo', 'a.jpg', huge_png()),
    ('psa', 'a.npy', npy_with_header(HEADER_OF_TYPES)),
    ('irn', 'a.npy', npy({'keys': np.array([1]), 'high_res': None})),  # KeyError: cam
    ('irn', 'a.npy', npy({'keys': [1, [2, 3]], 'cam': np.ones((2, 3, 3))})),  # ValueError without the file's name
    ('sec', 'cues.pickle', pickle.dumps({'0_labels': [None], '0_cues': np.zeros((3, 1))})),  # TypeError
    ('sec', 'cues.pickle', pickle.dumps({'²_labels': [1], '²_cues': np.zeros((3, 1))})),
    ('flowers', 'setid.mat', mat(trnid=np.array(['a', 'b'], object))),  # TypeError: '<=' of int and str
    ('flowers', 'imagelabels.mat', mat(labels='daisies')),
    ('our maps', 'a.npz', npz(labels=np.array([1]), maps=np.ones(3), size=np.array([2, 2]), background=False)),
    ('any image', 'a.png', picture('PNG').replace(b'\x00\x00\x00\rIHDR', b'\x00\x00\x00\tIHDR')),  # a bare ValueError
    ('any gif', 'a.gif', picture('GIF')[:30] + picture('GIF')[31:]),  # likewise: tile cannot extend outside image
    ('report', 'report.npz', npz(head=np.frombuffer(b'[]', np.uint8))),  # AttributeError
]


@pytest.mark.parametrize(('name', 'file', 'data'), FOUND, ids=[f'{i}-{name}' for i, (name, *_) in enumerate(FOUND)])
def test_it_is_one_sentence_now(tmp_path, name, file, data):
    case = CASES[name]
    case.make(tmp_path)
    (tmp_path / file).write_bytes(data)
    if name == 'masks' and data.startswith(b'\x89PNG') and b'IDAT' in data:
        check(case, tmp_path)  # 16 bits with small values are as good as 8
    else:
        assert not check(case, tmp_path)


def nothing(found: object) -> bool:
    """No result, or an evaluation's state without a chunk that is done."""
    return found is None or (isinstance(found, tuple) and isinstance(found[0], set) and not found[0])


@pytest.mark.parametrize('name', ['evaluation state', 'written result', 'index cache'])
def test_damaged_caches_are_made_anew(tmp_path, name):
    case = CASES[name]
    case.make(tmp_path)
    path = tmp_path / case.files[0]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])  # BadZipFile, once
    assert nothing(case.read(tmp_path))
    path.write_bytes(whole)
    assert not nothing(case.read(tmp_path))
