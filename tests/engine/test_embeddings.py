# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import numpy as np
import pytest

from mmentropy.engine.embeddings import ClassEmbeddings


@pytest.fixture
def path(tmp_path):
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    ClassEmbeddings(('cat', 'dog', 'red bird'), vectors, 20.0, 'a tower').write(tmp_path / 'new' / 'words.npz')
    return tmp_path / 'new' / 'words.npz'


def test_there_and_back(path):
    read = ClassEmbeddings.read(path)
    assert (read.classes, read.scale, read.made_by) == (('cat', 'dog', 'red bird'), 20.0, 'a tower')
    np.testing.assert_array_equal(read.vectors, [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(read.only(['red bird', 'cat']).vectors, [[4, 5], [0, 1]])


def test_one_sentence_for_a_wrong_file(path, tmp_path):
    with pytest.raises(FileNotFoundError, match='no such file of class embeddings'):
        ClassEmbeddings.read(tmp_path / 'none.npz')
    cut = tmp_path / 'cut.npz'
    cut.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r'cut.npz: this is no file of class embeddings, or a truncated one'):
        ClassEmbeddings.read(cut)
    np.savez(tmp_path / 'other.npz', x=1)
    with pytest.raises(ValueError, match=r'other.npz: this is no file of class embeddings'):
        ClassEmbeddings.read(tmp_path / 'other.npz')
    np.savez(tmp_path / 'odd.npz', classes=['a'], embeddings=np.zeros((2, 3)), scale=1.0, made_by='')
    with pytest.raises(ValueError, match=r'odd.npz: 1 classes do not fit embeddings of the shape \(2, 3\)'):
        ClassEmbeddings.read(tmp_path / 'odd.npz')
