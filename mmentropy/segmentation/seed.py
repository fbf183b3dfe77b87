# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From class maps to seeds: a background is added."""

from __future__ import annotations

import numpy as np

from mmentropy.ops.seeding.seeds import constant_background, entropy_background, power_background, scale_to_peak
from mmentropy.registry import STAGES

from .files import ImageMaps
from .stage import Context, ScoreStage

BACKGROUNDS = ('constant', 'power', 'entropy')


@STAGES.register_module()
class Seed(ScoreStage):
    r"""Adds the background to the class maps.

    Args:
        name, source: ``source`` wrote the class maps.
        background: ``constant`` with ``threshold``; ``power`` :math:`(1 - \max)^\alpha`; ``entropy``, the location
            entropy, min-max normalised within the image, to a ``power``, times ``scale``.
        threshold: of ``constant``.
        alpha: of ``power``.
        power, scale: of ``entropy``.
    """

    SECONDS = 0.01

    def __init__(
        self,
        name: str = 'seed',
        source: str | None = None,
        background: str = 'constant',
        threshold: float = 0.15,
        alpha: float = 16.0,
        power: float = 1.0,
        scale: float = 0.5,
    ) -> None:
        super().__init__(name, source)
        if background not in BACKGROUNDS:
            raise ValueError(f'{name}: background must be one of {BACKGROUNDS}, got {background!r}')
        self.background, self.threshold, self.alpha = background, threshold, alpha
        self.power, self.scale = power, scale

    def process(self, ctx: Context, key: str) -> None:
        stored = ImageMaps.load(ctx.folder(self.source) / f'{key}.npz')
        maps = scale_to_peak(stored.maps)
        if self.background == 'constant':
            low = constant_background(maps, self.threshold)
        elif self.background == 'power':
            low = power_background(maps, self.alpha)
        else:
            if stored.entropy is None:
                raise ValueError(f'{key}: the maps of {self.source} come without entropy; choose another background')
            low = entropy_background(stored.entropy, self.power) * np.float32(self.scale)
        ImageMaps(stored.labels, np.concatenate([low[None], maps]), stored.size, stored.entropy, True).save(
            self.output(ctx, key)
        )
