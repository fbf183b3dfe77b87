# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A small data set in VOC's layout, and rough maps of it as another project would publish them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmentropy.datasets.voc_export import export_voc
from mmentropy.segmentation import VOCFolder


@pytest.fixture(scope='session')
def voc(tmp_path_factory) -> VOCFolder:
    root = tmp_path_factory.mktemp('data') / 'VOC2012'
    export_voc(root, 10, 4, image_size=64, seed=1)
    return VOCFolder(str(root), num_classes=5)


def rough_maps(voc: VOCFolder, key: str, seed: int = 0) -> dict[int, np.ndarray]:
    """The true regions, blurred and noisy, in PSA's form."""
    rng = np.random.default_rng([seed, int(key[-6:])])
    truth = voc.mask(key)
    maps = {}
    for label in voc.labels(key).tolist():
        blurred = cv2.GaussianBlur((truth == label + 1).astype(np.float32), (0, 0), 5)
        maps[label] = blurred / max(blurred.max(), 1e-6) + rng.uniform(0, 0.25, truth.shape).astype(np.float32)
    return maps


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
