# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Foreign files are read as data; a file that would run code is refused by name, and its code does not run."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections import OrderedDict

import numpy as np
import pytest

from mmentropy.segmentation.foreign_maps import (
    UnsafePickleError,
    load_data_pickle,
    read_foreign,
    read_irn,
    read_psa,
    read_sec,
)

RNG = np.random.default_rng(0)


class Bomb:
    """Touches a file when unpickled, by the usual road."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('road', ['system', 'open', 'eval', 'popen', 'import'])
@pytest.mark.parametrize('reader', ['psa', 'irn', 'sec'])
def test_a_file_that_runs_code_is_refused_by_name(tmp_path, road, reader):
    target = tmp_path / 'ran'
    bomb = {
        'system': Bomb(os.system, f'touch {target}'),
        'open': Bomb(open, str(target), 'w'),
        'eval': Bomb(eval, f'open({str(target)!r}, "w")'),
        'popen': Bomb(subprocess.Popen, ['touch', str(target)]),
        'import': Bomb(__import__, 'antigravity'),
    }[road]
    path = tmp_path / '2007_000001.npy'
    content = {0: np.ones((2, 2)), 'keys': bomb, '0_cues': bomb}
    if reader == 'sec':
        path.write_bytes(pickle.dumps(content))
    else:
        np.save(path, content)
    with pytest.raises(UnsafePickleError, match=r'2007_000001\.npy: refused, it names \w+\.\w+'):
        {'psa': read_psa, 'irn': read_irn, 'sec': read_sec}[reader](path)
    assert not target.exists()
    # The test would notice: plain unpickling does run it.
    if road in ('open', 'system'):
        pickle.loads(pickle.dumps(bomb))
        assert target.exists()


def test_numpy_functions_are_no_way_around():
    for name in ('numpy\nload', 'numpy.testing\nassert_equal', 'numpy\nfromfile', 'builtins\ngetattr', 'posix\nsystem'):
        with pytest.raises(UnsafePickleError, match='refused'):
            load_data_pickle(b'c' + name.encode() + b'\n.', 'x.npy')


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_comes_through_every_protocol(protocol):
    value = OrderedDict(a=np.arange(6.0).reshape(2, 3), b=[1, 'x', 2.5, None, True, (b'raw',)], c=np.float32(3))
    got = load_data_pickle(pickle.dumps(value, protocol), 'x')
    np.testing.assert_array_equal(got['a'], value['a'])
    assert got['c'] == 3
    assert got['b'][:5] == value['b'][:5]


def test_psa(tmp_path):
    path = tmp_path / 'a.npy'
    maps = {14: RNG.random((5, 6)).astype(np.float32), np.int64(3): RNG.random((5, 6))}
    np.save(path, maps)
    labels, got = read_psa(path)
    assert labels.tolist() == [3, 14]
    np.testing.assert_allclose(got, [maps[3], maps[14]], rtol=1e-6)
    read = read_foreign(path, 'psa', (5, 6))
    assert read.size == (5, 6)
    assert not read.background
    with pytest.raises(ValueError, match=r'a\.npy: the maps have size \(5, 6\), the image \(6, 5\)'):
        read_foreign(path, 'psa', (6, 5))
    with pytest.raises(ValueError, match=r"one of .*'irn'"):
        read_foreign(path, 'oaa', (5, 6))


def test_irn(tmp_path):
    path = tmp_path / 'a.npy'
    high = RNG.random((2, 8, 9)).astype(np.float32)
    np.save(path, {'keys': np.array([2, 7]), 'cam': RNG.random((2, 2, 3)), 'high_res': high})
    labels, got = read_irn(path)
    assert labels.tolist() == [2, 7]
    np.testing.assert_array_equal(got, high)
    np.save(path, {'keys': np.array([2]), 'cam': high[:1, :2, :3]})
    assert read_foreign(path, 'irn', (8, 9)).maps.shape == (1, 2, 3)


def test_sec(tmp_path):
    path = tmp_path / 'cues.pickle'
    index = np.array([[0, 0, 5], [1, 2, 40], [3, 4, 0]])
    content = {'7_labels': np.array([0, 5]), '7_cues': index, '12_labels': np.array([1, 2]), '12_cues': index[:, :1]}
    path.write_bytes(pickle.dumps(content, protocol=2))
    got = read_sec(path)
    assert sorted(got) == [7, 12]
    assert got[7][0].tolist() == [4]
    assert np.argwhere(got[7][1]).tolist() == [[0, 1, 3], [0, 2, 4], [5, 40, 0]]
    assert got[12][0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({20: np.ones((2, 2))}, 'key 20 is not a class in 0–19'),
        ({-1: np.ones((2, 2))}, 'key -1 is not'),
        ({'cat': np.ones((2, 2))}, "key 'cat' is not"),
        ({1: np.ones((2, 2)), 2: np.ones((2, 3))}, 'different sizes'),
        ({1: np.ones(4)}, 'the map of class 1 is an array of shape'),
        ({1: 'nothing'}, 'the map of class 1 is str'),
        ({1: np.full((2, 2), np.nan)}, 'NaN'),
        ({}, 'has no label'),
        ([1, 2], 'expected one dict|hold a dict'),
    ],
)
def test_wrong_psa_content(tmp_path, content, message):
    path = tmp_path / '2008_000002.npy'
    np.save(path, np.array(content, dtype=object))
    with pytest.raises(ValueError, match=f'2008_000002.npy: .*({message})'):
        read_psa(path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'keys': np.array([1])}, "found .*'keys'.*IRN files hold"),
        ({'keys': np.array([1, 2]), 'cam': np.ones((1, 2, 2))}, '1 maps but keys of shape'),
        ({'keys': np.array([25]), 'cam': np.ones((1, 2, 2))}, r'keys \[25\] are not classes'),
        ({'keys': np.array([], int), 'cam': np.ones((0, 2, 2))}, 'has no label'),
    ],
)
def test_wrong_irn_content(tmp_path, content, message):
    path = tmp_path / 'b.npy'
    np.save(path, content)
    with pytest.raises(ValueError, match=f'b.npy: .*{message}'):
        read_irn(path)


def test_wrong_files(tmp_path):
    path = tmp_path / 'c.npy'
    with pytest.raises(FileNotFoundError, match=r'c\.npy: no such file'):
        read_psa(path)
    path.write_bytes(b'not numpy')
    with pytest.raises(ValueError, match=r'c\.npy: not a \.npy file'):
        read_psa(path)
    np.save(path, {1: np.ones((200, 200))})
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r'c\.npy: not a pickle of arrays'):
        read_psa(path)
    path.write_bytes(pickle.dumps({'3_cues': np.zeros((3, 1))}))
    with pytest.raises(ValueError, match="'3_cues' has no '3_labels'"):
        read_sec(path)
    path.write_bytes(pickle.dumps({'3_cues': np.array([[0], [41], [0]]), '3_labels': np.array([1])}))
    with pytest.raises(ValueError, match='outside 21 classes and 41 × 41'):
        read_sec(path)
