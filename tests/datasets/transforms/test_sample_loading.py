# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Masks of a sample, joined; what does not fit is told."""

from __future__ import annotations

from mmentropy.registry import TRANSFORMS

MASKS = dict(type='mmentropy.LoadLocalizationMasks')


def test_transforms_repeat_their_settings() -> None:
    assert repr(TRANSFORMS.build({**MASKS, 'size': (3, 4)})) == 'LoadLocalizationMasks(size=(3, 4))'
