# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A set in ADE's layout, image by image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mmentropy.datasets.label_png import label_png
from mmentropy.datasets.sources import MaskFolders


def write(folder, key: str, mask, classes: int = 3, split: str = 'training') -> None:
    image, place = folder / f'images/{split}/{key}.jpg', folder / f'annotations/{split}/{key}.png'
    for path in (image, place):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', np.shape(mask)[::-1]).save(image)
    place.write_bytes(label_png(np.asarray(mask), classes).getvalue())


@pytest.fixture
def ade(tmp_path) -> MaskFolders:
    write(tmp_path, 'a', [[0, 2, 255], [2, 2, 1]])
    write(tmp_path, 'hall/b', [[2, 2, 2]])
    write(tmp_path, 'a', [[1, 1]], split='validation')
    (tmp_path / 'names.txt').write_text('wall\nfloor\n')
    return MaskFolders(str(tmp_path), class_names='names.txt')


def test_images_and_masks(ade, tmp_path):
    assert ade.ids() == ['a', 'hall__b']
    assert ade.classes == ('wall', 'floor')
    assert [ade.labels(key).tolist() for key in ade.ids()] == [[0, 1], [1]]
    assert ade.mask('a', (2, 3)).tolist() == [[255, 2, 255], [2, 2, 1]]  # 0 was not annotated
    kept = MaskFolders(str(tmp_path), class_names='names.txt', reduce_zero_label=False)
    assert kept.mask('a').tolist() == [[0, 2, 255], [2, 2, 1]]
    assert kept.identity() != ade.identity()
    assert ade.image('hall__b').shape == (1, 3, 3)
    assert ade.on('validation').labels('a').tolist() == [0]
    assert ade.truth_from('hall__b') == ade.labels_from('hall__b') == tmp_path / 'annotations/training/hall/b.png'


def test_sixteen_bits(tmp_path):
    write(tmp_path, 'a', [[0, 300, 65535, 255]], classes=301)
    ade = MaskFolders(str(tmp_path), class_names=[f'c{n}' for n in range(300)])
    assert ade.labels('a').tolist() == [254, 299]
    assert ade.mask('a').tolist() == [[65535, 300, 65535, 255]]


def test_what_is_wrong_is_told(ade, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'images/test is no folder; .* must have the layout of ADE20K'):
        ade.ids('test')
    with pytest.raises(ValueError, match=r'a\.png: the mask has size \(2, 3\), the image \(9, 9\)'):
        ade.mask('a', (9, 9))
    (tmp_path / 'annotations/training/a.png').unlink()
    assert ade.mask('a') is None
    with pytest.raises(ValueError, match=r'a\.png: no mask, so the image has no label'):
        ade.labels('a')
    write(tmp_path, 'a', [[0, 255]])
    with pytest.raises(ValueError, match='the mask has no class, so the image has no label'):
        ade.labels('a')
    write(tmp_path, 'a', [[3]])
    with pytest.raises(ValueError, match=r'a\.png: value 3 is neither in 0–2 nor 255'):
        ade.mask('a')
    with pytest.raises(ValueError, match="no image 'c' in it"):
        ade.image_path('c')
    with pytest.raises(FileNotFoundError, match=r'objectInfo150\.txt does not exist; it names the classes'):
        MaskFolders(str(tmp_path)).labels('hall__b')
    (tmp_path / 'images/training/a.png').write_bytes(b'')
    with pytest.raises(ValueError, match=r"'a\.png' and 'a\.jpg' would both be called 'a'"):
        MaskFolders(str(tmp_path), class_names='names.txt').ids()
