# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Which pixels a mask leaves out: what no cue covers, and IRN's band."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from seeding import seeds

from mmentropy.segmentation import Context, PseudoMasks


def test_what_no_cue_covers_is_ignored(voc, stored, tmp_path):
    """From cues to what DSRG trains on: 255 outside them."""
    key, _ = stored
    cues = seeds(voc, tmp_path, key, background='entropy', cues=dict(size=(64, 64), fg_share=0.5))
    PseudoMasks(source='seed', confidence=0.6).process(Context(tmp_path, voc), key)
    mask = np.asarray(Image.open(tmp_path / f'masks/{key}.png'))
    np.testing.assert_array_equal(mask == 255, cues.maps.sum(axis=0) == 0)
    np.testing.assert_array_equal(mask == cues.labels[0] + 1, cues.maps[1] == 1)
    np.testing.assert_array_equal(mask == 0, cues.maps[0] == 1)


def test_band(voc, stored, tmp_path):
    """IRN's: sure classes, sure background, nothing between."""
    key, _ = stored
    scores = seeds(voc, tmp_path, key)
    PseudoMasks(source='seed', band=(0.2, 0.7)).process(Context(tmp_path, voc), key)
    mask, best = np.asarray(Image.open(tmp_path / f'masks/{key}.png')), scores.maps[1]
    np.testing.assert_array_equal(mask, np.where(best > 0.7, scores.labels[0] + 1, np.where(best > 0.2, 255, 0)))


def test_wrong_band():
    for options in (dict(band=(0.5, 0.2)), dict(band=(0.1, 0.2, 0.3)), dict(band=(0.1, 0.2), confidence=0.5)):
        with pytest.raises(ValueError, match=r'band is \(low, high\), without confidence'):
            PseudoMasks(**options)
