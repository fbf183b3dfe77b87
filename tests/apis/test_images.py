# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mmentropy.apis.images import count_images, iterate_images

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
