# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mmentropy.apis.images import count_images, iterate_images, name_images

GRADIENT = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5


def test_streams(tmp_path):
    (tmp_path / 'sub').mkdir()
    for name in ('b.png', 'a.jpg', 'sub/c.PNG'):
        Image.fromarray(GRADIENT).save(tmp_path / name)
    (tmp_path / 'notes.txt').write_text('')
    assert [name for name, _ in iterate_images(tmp_path)] == ['a.jpg', 'b.png', 'sub/c.PNG']
    assert count_images(tmp_path) == 3
    mixed = (item for item in [GRADIENT, str(tmp_path / 'b.png'), [GRADIENT, GRADIENT]])
    assert count_images(mixed) is None
    assert [name for name, _ in iterate_images(mixed)] == ['0', 'b.png', '0', '1']
    assert len(list(iterate_images(np.stack([GRADIENT] * 3)))) == 3
    assert count_images([GRADIENT] * 4) == 4
    (tmp_path / 'none').mkdir()
    with pytest.raises(FileNotFoundError, match='no image files'):
        list(iterate_images(tmp_path / 'none'))


def test_every_file_has_a_name_of_its_own(tmp_path):
    for name in ('a/1.png', 'b/1.png', 'b/2.png', 'c/b/1.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4)).save(tmp_path / name)
    a, b, c = (tmp_path / name for name in 'abc')
    assert name_images([a]) == {'1.png': a / '1.png'}
    assert name_images([a, b]) == {'a/1.png': a / '1.png', 'b/1.png': b / '1.png', '2.png': b / '2.png'}
    assert name_images([a / '1.png', b / '1.png']) == {'a/1.png': a / '1.png', 'b/1.png': b / '1.png'}
    assert name_images([a, a / '1.png', a]) == {'1.png': a / '1.png'}  # one file, however often
    with pytest.raises(ValueError, match=r'would both be called b/1\.png; give a folder that holds both'):
        name_images([a, b, c / 'b'])
