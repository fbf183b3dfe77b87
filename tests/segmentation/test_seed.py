# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The seed stage's scores and cues against the formulas, written out again."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from seeding import seeds

from mmentropy.segmentation import Seed


@pytest.mark.parametrize('background', ['power', 'entropy', 'constant', 'saliency'])
def test_backgrounds(voc, stored, background, tmp_path):
    """The seed stage stacks its background on the maps, peak-scaled."""
    key, maps = stored
    folder = str(tmp_path / 'saliency') if background == 'saliency' else None
    options = dict(background=background, threshold=0.3, alpha=2, power=2, scale=0.5, saliency=folder)
    got = seeds(voc, tmp_path, key, **options)
    scaled, e = maps.maps[0] / maps.maps.max(), maps.entropy
    want = {
        'constant': np.full_like(scaled, 0.3),
        'power': (1 - scaled) ** 2,
        'entropy': 0.5 * ((e - e.min()) / np.ptp(e)) ** 2,
        'saliency': 0.5 * (1 - np.asarray(Image.open(tmp_path / f'saliency/{key}.png')) / 255) ** 2,
    }[background]
    assert got.background
    np.testing.assert_allclose(got.maps[1], scaled, atol=1e-3)
    np.testing.assert_allclose(got.maps[0], want, atol=1e-3)


def test_cues_from_saliency(voc, stored, tmp_path):
    """On the maps' own grid nothing is resized: an object above a fifth of the maximum, else what is not salient."""
    key, maps = stored
    options = dict(background='saliency', saliency=str(tmp_path / 'saliency'))
    got = seeds(voc, tmp_path, key, **options, cues=dict(size=(64, 64))).maps
    saliency = np.asarray(Image.open(tmp_path / f'saliency/{key}.png')) / 255
    objects = maps.maps[0] > 0.2 * maps.maps.max()
    np.testing.assert_array_equal(got[1], objects)
    np.testing.assert_array_equal(got[0], (saliency < 0.06) & ~objects)
    assert (got.sum(axis=0) == 0).any()  # what is neither
    assert seeds(voc, tmp_path, key, **options, cues={}).maps.shape == (2, 41, 41)


def test_cues_from_entropy(voc, stored, tmp_path):
    """The tenth of the locations with the highest entropy, where no object is."""
    key, maps = stored
    got = seeds(voc, tmp_path, key, background='entropy', cues=dict(size=(64, 64), fg_share=0.5)).maps
    objects = maps.maps[0] > 0.5 * maps.maps.max()
    np.testing.assert_array_equal(got[1], objects)
    highest = maps.entropy >= np.quantile(maps.entropy, 0.9)
    assert ((got[0] > 0) != (highest & ~objects)).sum() <= 1  # the location at the very quantile


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(background='white'), 'background must be one of'),
        (dict(background='saliency'), 'go together'),
        (dict(saliency='maps'), 'go together'),
        (dict(cues={}), "cues need background='saliency' or 'entropy', got 'constant'"),
        (dict(background='entropy', cues=dict(share=0.2)), "cues have no option 'share'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        Seed(**options)


def test_wrong_saliency_files(voc, stored, tmp_path):
    key, _ = stored
    path = tmp_path / f'saliency/{key}.png'
    options = dict(background='saliency', saliency=str(path.parent))
    Image.new('RGB', (64, 64), 'red').save(path)
    with pytest.raises(ValueError, match=f'{key}.png: found colours; a saliency map is a grey image'):
        seeds(voc, tmp_path, key, **options)
    Image.new('L', (64, 32)).save(path)
    with pytest.raises(ValueError, match=r'the saliency map has size \(32, 64\), the image \(64, 64\)'):
        seeds(voc, tmp_path, key, **options)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f'{key}.png: no such image file'):
        seeds(voc, tmp_path, key, **options)
