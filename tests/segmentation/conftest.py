# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A small data set in VOC's layout, and rough maps of it as another project would publish them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rough_maps import rough_maps

from mmentropy.datasets.preparing.voc_export import export_voc
from mmentropy.segmentation import ImageMaps, VOCFolder


@pytest.fixture(scope='session')
def voc(tmp_path_factory) -> VOCFolder:
    root = tmp_path_factory.mktemp('data') / 'VOC2012'
    export_voc(root, 10, 4, image_size=64, seed=1)
    return VOCFolder(str(root), num_classes=5)


@pytest.fixture(scope='session')
def foreign(voc, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('foreign')
    for key in voc.ids():
        np.save(folder / f'{key}.npy', rough_maps(voc, key))
    return folder


@pytest.fixture
def chain(foreign) -> list[dict]:
    """Stages that train nothing: foreign maps, seeds, CRF, masks."""
    return [
        dict(type='ForeignMaps', name='maps', folder=str(foreign), threshold=0.6),
        dict(type='Seed', name='seed', threshold=0.6),
        dict(type='CrfRefine', name='crf', gaussian=[2, 3], bilateral=[20, 10, 6], iterations=5),
        dict(type='PseudoMasks', name='masks'),
    ]


@pytest.fixture
def stored(voc, tmp_path) -> tuple[str, ImageMaps]:
    """An image of one label; its maps, entropy and saliency are files under ``tmp_path``."""
    rng = np.random.default_rng(0)
    key = voc.ids()[0]
    for folder in ('maps', 'seed', 'masks', 'saliency'):
        (tmp_path / folder).mkdir()
    maps, entropy = rng.uniform(size=(1, 64, 64)), rng.uniform(size=(64, 64))
    ImageMaps(voc.labels(key)[:1], maps, (64, 64), entropy).save(tmp_path / f'maps/{key}.npz')
    saliency = (255 * rng.uniform(size=(64, 64)) ** 4).astype(np.uint8)  # a third is under 0.06 · 255
    Image.fromarray(saliency).save(tmp_path / f'saliency/{key}.png')
    return key, ImageMaps.load(tmp_path / f'maps/{key}.npz')
