# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Damaged files through every reader: what is documented, or nothing, and never code that a file brings along.

``MMENTROPY_FUZZ_EXAMPLES`` is the number of damaged files a reader (see ``reader_cases.py``) gets, 15 by default; the
long form is ``MMENTROPY_FUZZ_EXAMPLES=3000 pytest tests/fuzz``, 100 000 files and more in all.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reader_cases import CASES, check

EXAMPLES = int(os.environ.get('MMENTROPY_FUZZ_EXAMPLES', '15'))

# What tends to break readers: separators, numbers at their limits, other alphabets' digits, encodings, keywords of the
# formats, lengths and marks of npy, zip, PNG and pickle.
TOKENS = [
    *(b'', b'\n', b'\r', b'\r\n', b',', b',,', b'\t', b' ', b'\0', b'"', b"'", b'/', b'..', b'://', b'-', b'-1', b'0'),
    *(
        b'1e999',
        b'nan',
        b'inf',
        b'1e400',
        b'9' * 30,
        b'9' * 5000,
        b'1_0',
        b'0x10',
        b'1.5',
        '１２'.encode(),
        '²'.encode(),
    ),
    *(b'\xff', b'\xfe\xff', b'\xef\xbb\xbf', '\u2028'.encode(), b'\x1c', b'\x85', b'a' * 300, b'a' * 5000),
    *(b'{', b'}', b'[', b'[' * 5000, b']', b'null', b'true', b'NaN', b'{}', b'[]', b'""', b'\\ud800', b':', b'None'),
    *(b'<', b'</object>', b'<object>', b'&x;', b'<?xml version="1.0" encoding="utf-7"?>', b'<!DOCTYPE a>'),
    *(b'<?xml version="1.0" encoding="nonsense"?>', b'<xmin>', b'<bndbox/>'),
    *(b'\x00\x00\x00\x00', b'\xff\xff\xff\xff', b'\x7f\xff\xff\xff', b'\x00\x00\xff\xff', b'\x01\x00', b'\x80'),
    *(b'|O', b'<f4', b'>i8', b'<U3', b'|b1', b'<c8', b'<m8', b'|V4', b'True', b'()', b'(1,)', b'(9999999999999,)'),
    *(b'cnumpy\nload\n', b'cos\nsystem\n', b'N.', b'K\x05', b']', b'}', b'R', b'b', b'h\x00', b'.', b'(', b't'),
    *(b'IDAT', b'IHDR', b'PLTE', b'tRNS', b'acTL', b'iCCP', b'eXIf', b'\xff\xd8', b'\xff\xd9', b'II*\x00', b'GIF89a'),
]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(('replace', 'insert', 'delete', 'flip', 'cut', 'repeat')),
        st.floats(0, 1),
        st.one_of(st.sampled_from(TOKENS), st.binary(min_size=1, max_size=4)),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=4,
)
DAMAGE = st.one_of(EDITS, EDITS, EDITS, st.binary(max_size=64), st.lists(st.sampled_from(TOKENS), max_size=12))


def damaged(data: bytes, damage: list | bytes) -> bytes:
    """The data with edits made to it; or, for bytes and lists of tokens, these in its place."""
    if isinstance(damage, bytes):
        return damage
    if not damage or isinstance(damage[0], bytes):
        return b''.join(damage)
    for kind, share, token, length in damage:
        at = round(share * len(data))
        if kind == 'replace':
            data = data[:at] + token + data[at + len(token) :]
        elif kind == 'insert':
            data = data[:at] + token + data[at:]
        elif kind == 'delete':
            data = data[:at] + data[at + length :]
        elif kind == 'flip' and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ (1 << length % 8)]) + data[at + 1 :]
        elif kind == 'cut':
            data = data[:at]
        elif kind == 'repeat':
            data = data[:at] + data[max(0, at - length) : at] * 3 + data[at:]
    return data


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """One folder a reader, with its valid files."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp('reader')
            CASES[name].make(made[name])
        return made[name]

    return folder


@pytest.fixture(autouse=True)
def _quiet():
    # A warning is no exception, but numpy's about overflow and Pillow's about large images would fill the log.
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


@pytest.mark.parametrize('name', CASES)
def test_valid_files_are_read(name, folders):
    case = CASES[name]
    folder = folders(name)
    originals = {file: (folder / file).read_bytes() for file in case.files}
    for file, data in originals.items():
        (folder / file).write_bytes(case.mend(data))
    try:
        assert check(case, folder)
    finally:
        for file, data in originals.items():
            (folder / file).write_bytes(data)


@pytest.mark.parametrize('name', CASES)
def test_damaged_files_raise_what_is_documented(name, folders):
    case = CASES[name]
    folder = folders(name)
    originals = {file: (folder / file).read_bytes() for file in case.files}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize='MMENTROPY_FUZZ_EXAMPLES' not in os.environ,
        suppress_health_check=list(HealthCheck),
    )
    @given(file=st.sampled_from(case.files), damage=DAMAGE)
    def run(file: str, damage: list | bytes) -> None:
        path = folder / file
        path.write_bytes(case.mend(damaged(originals[file], damage)))
        try:
            check(case, folder)
        finally:
            path.write_bytes(originals[file])

    run()
