# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From class maps to seeds: a background is added, or sparse cues are cut."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from mmentropy.ops.mapping.scaling import resize_map
from mmentropy.ops.seeding.seeds import (
    CUE_SIZE,
    constant_background,
    dsrg_cues,
    entropy_background,
    power_background,
    saliency_background,
    scale_to_peak,
)
from mmentropy.registry import STAGES

from .files import ImageMaps, read_grey
from .stage import Context, ScoreStage

BACKGROUNDS = ('constant', 'power', 'entropy', 'saliency')
#: DSRG's: a location that is less salient is background.
SALIENCY_THRESHOLD = 0.06


@dataclass
class Cues:
    """Options of sparse cues; see :func:`~mmentropy.ops.seeding.seeds.dsrg_cues`.

    Attributes:
        size: (height, width) of the grid.
        fg_share: of each class' maximum.
        bg_threshold: a location whose saliency (or entropy contrast, in nats) is lower is background; None takes 0.06
            for saliency and ``bg_share`` for entropy.
        bg_share: share of the locations with the lowest contrast, which are background.

    >>> Cues(size=(2, 2)).fg_share
    0.2
    """

    size: tuple[int, int] = CUE_SIZE
    fg_share: float = 0.2
    bg_threshold: float | None = None
    bg_share: float = 0.1


@STAGES.register_module()
class Seed(ScoreStage):
    r"""Adds the background to the class maps, or cuts sparse cues from both.

    Args:
        name, source: ``source`` wrote the class maps.
        background: ``constant`` with ``threshold``; ``power`` :math:`(1 - \max)^\alpha`; ``entropy``, the location
            entropy, min-max normalised within the image, to a ``power``, times ``scale``; ``saliency``,
            :math:`1 - saliency` to a ``power``, times ``scale``.
        threshold: of ``constant``.
        alpha: of ``power``.
        power, scale: of ``entropy`` and ``saliency``.
        saliency: folder of ``<id>.png``, grey images of the image's size, white on what stands out.
        cues: options of :class:`Cues`: the sparse, hard cues of SEC and DSRG instead of scores. Their background is
            where ``saliency`` is low or ``entropy`` is high. A location without a cue has no score at all, so every
            class is as likely there, and ``PseudoMasks(confidence=0.6)`` makes it 255.

    Raises:
        ValueError: for options that do not fit.

    >>> stored = ImageMaps(np.array([3]), np.array([[[4.0, -1.0]]], np.float32), size=(8, 16))
    >>> Seed(background='constant', threshold=0.5).dense(stored, 'a')[:, 0].tolist()  # background, class
    [[0.5, 0.5], [1.0, 0.0]]
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
        saliency: str | None = None,
        cues: dict | None = None,
    ) -> None:
        super().__init__(name, source)
        if background not in BACKGROUNDS:
            raise ValueError(f'{name}: background must be one of {BACKGROUNDS}, got {background!r}')
        if (background == 'saliency') != (saliency is not None):
            raise ValueError(f"{name}: background='saliency' and saliency=<folder of the maps> go together")
        if cues is not None and background not in ('saliency', 'entropy'):
            raise ValueError(f"{name}: cues need background='saliency' or 'entropy', got {background!r}")
        known = [field.name for field in fields(Cues)]
        for option in cues or ():
            if option not in known:
                raise ValueError(f'{name}: cues have no option {option!r}; they have {", ".join(known)}')
        self.background, self.threshold, self.alpha = background, threshold, alpha
        self.power, self.scale, self.saliency = power, scale, saliency
        self.cues = None if cues is None else Cues(**cues)

    def made_from(self, ctx: Context, key: str) -> list[Path]:
        return super().made_from(ctx, key) + ([self.saliency_path(key)] if self.saliency else [])

    def process(self, ctx: Context, key: str) -> None:
        stored = ImageMaps.load(ctx.folder(self.source) / f'{key}.npz')
        if self.background == 'entropy' and stored.entropy is None:
            raise ValueError(f'{key}: the maps of {self.source} come without entropy; choose another background')
        scores = self.sparse(stored, key) if self.cues else self.dense(stored, key)
        ImageMaps(stored.labels, scores, stored.size, stored.entropy, True).save(self.output(ctx, key))

    def dense(self, stored: ImageMaps, key: str) -> np.ndarray:
        """(K + 1, h, w) scores of the background and the classes."""
        maps = scale_to_peak(stored.maps)
        if self.background == 'constant':
            low = constant_background(maps, self.threshold)
        elif self.background == 'power':
            low = power_background(maps, self.alpha)
        elif self.background == 'entropy':
            low = entropy_background(stored.entropy, self.power) * np.float32(self.scale)
        else:
            saliency = resize_map(self.read(stored, key), maps.shape[1:], 'area')
            low = saliency_background(saliency, self.power) * np.float32(self.scale)
        return np.concatenate([low[None], maps])

    def sparse(self, stored: ImageMaps, key: str) -> np.ndarray:
        """(K + 1, height, width) cues of the background and the classes, 0 or 1."""
        options = asdict(self.cues)
        if self.background == 'entropy':
            contrast = stored.entropy.max() - stored.entropy
        else:
            contrast = self.read(stored, key)
            if options['bg_threshold'] is None:
                options['bg_threshold'] = SALIENCY_THRESHOLD
        labels = np.arange(len(stored.labels))  # the image's own classes are enough
        return dsrg_cues(stored.maps, labels, contrast, len(labels) + 1, **options).astype(np.float32)

    def read(self, stored: ImageMaps, key: str) -> np.ndarray:
        """The image's saliency."""
        return read_grey(self.saliency_path(key), stored.size, 'saliency map')

    def saliency_path(self, key: str) -> Path:
        """Of the image's saliency map."""
        return Path(self.saliency or '', f'{key}.png')
