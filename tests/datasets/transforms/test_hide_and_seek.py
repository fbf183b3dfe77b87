# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmpretrain.registry import TRANSFORMS

from mmentropy.datasets.transforms import HideAndSeek

MEAN = [123.675, 116.28, 103.53]  # RGB


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 90, (64, 64, 3), dtype=np.uint8)


def test_hidden_cells_have_the_mean_in_the_images_channel_order():
    init_default_scope('mmpretrain')
    transform = TRANSFORMS.build(dict(type='mmentropy.HideAndSeek', mean=MEAN))
    np.random.seed(0)  # noqa: NPY002
    out = transform(dict(img=image(), gt_label=1))
    assert out['gt_label'] == 1
    cells = out['img'].reshape(4, 16, 4, 16, 3)
    hidden = (cells == (104, 116, 124)).all((1, 3, 4))  # BGR, whole levels
    np.random.seed(0)  # noqa: NPY002
    assert (hidden == (np.random.random_sample((4, 4)) < 0.5)).all()  # noqa: NPY002
    same = (cells == image().reshape(4, 16, 4, 16, 3)).all((1, 3, 4))
    assert (same == ~hidden).all()


def test_share_hidden_and_grids_drawn():
    np.random.seed(0)  # noqa: NPY002
    transform = HideAndSeek(mean=[250.0] * 3, grid=(2, 8), prob=0.3)
    shares, cells = [], set()
    for _ in range(400):
        hidden = (transform(dict(img=image()))['img'] == 250).all(2)
        shares.append(hidden.mean())
        edges = np.flatnonzero(np.diff(hidden.astype(int), axis=0).any(1)) + 1
        cells.add(8 if (edges % 32).any() else 2)
    assert np.mean(shares) == pytest.approx(0.3, abs=0.04)  # 400 images, half of them of four cells
    assert cells == {2, 8}


def test_probability_zero_changes_nothing_not_even_the_random_numbers():
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random_sample(4)  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    img = image()
    assert HideAndSeek(MEAN, prob=0.0)(dict(img=img))['img'] is img
    assert (np.random.random_sample(4) == expected).all()  # noqa: NPY002


def test_probability_one_hides_all():
    out = HideAndSeek([1.0, 2.0, 3.0], prob=1.0, to_rgb=False)(dict(img=image()))['img']
    assert (out == (1, 2, 3)).all()


def test_options_are_checked_and_shown():
    with pytest.raises(ValueError, match='grid is a number of cells'):
        HideAndSeek(MEAN, grid=0)
    with pytest.raises(ValueError, match='prob must be in'):
        HideAndSeek(MEAN, prob=2)
    assert 'grid=(4,), prob=0.5' in repr(HideAndSeek(MEAN))
