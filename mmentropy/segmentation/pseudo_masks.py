# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Palette PNGs that mmsegmentation reads unmodified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmentropy.datasets.label_png import label_png, read_label_png
from mmentropy.ops.mapping.scaling import resize_map
from mmentropy.ops.seeding.confusion import ignore_value
from mmentropy.ops.seeding.seeds import confident_map
from mmentropy.registry import STAGES
from mmentropy.safe_files import write_whole

from .files import ImageMaps, write_list
from .stage import Context, ScoreStage, label_map


@STAGES.register_module()
class PseudoMasks(ScoreStage):
    """The best class of each pixel as a PNG of the image's size, 0–20 on VOC, only classes that the image has.

    Up to 255 classes, background included, that is a palette PNG; beyond it has sixteen grey bits, and 65535 stands for
    255. See :mod:`mmentropy.datasets.label_png`.

    ``ids.txt`` lists the images that have a mask, for mmseg's ``ann_file``.

    Args:
        name, source: ``source`` wrote scores with a background.
        confidence: pixels whose best probability is lower become 255, which training leaves out; 0 keeps all.
        band: (low, high) of IRN: a class where its score is above ``high``, background where every class' score is at
            most ``low``, 255 between; e.g. (0.05, 0.3). In place of ``confidence`` and of the seeds' background.
        ignore_empty: leave out images in which some label has no pixel at all.

    >>> stage = STAGES.build(dict(type='PseudoMasks', source='crf', confidence=0.6))
    >>> stage.name, stage.needs, stage.confidence
    ('masks', ['crf'], 0.6)
    """

    SUFFIX = '.png'
    SECONDS, BYTES = 0.02, 5_000

    def __init__(
        self,
        name: str = 'masks',
        source: str | None = None,
        confidence: float = 0.0,
        ignore_empty: bool = False,
        band: Sequence[float] | None = None,
    ) -> None:
        super().__init__(name, source)
        if band is not None and (confidence or len(band) != 2 or band[0] > band[1]):
            raise ValueError(f'{name}: band is (low, high), without confidence; got {band} and confidence {confidence}')
        self.confidence, self.ignore_empty, self.band = confidence, ignore_empty, band

    def process(self, ctx: Context, key: str) -> None:
        scores = ImageMaps.load(ctx.folder(self.source) / f'{key}.npz')
        if not np.isin(scores.labels, ctx.data.labels(key)).all():
            raise ValueError(f'{key}: {self.source} has scores of classes {scores.labels.tolist()} that it has not')
        classes = ctx.data.num_classes + 1
        if self.band is not None:
            maps = resize_map(scores.maps[1:] if scores.background else scores.maps, scores.size, 'bilinear')
            mask = confident_map(maps, scores.labels, *self.band, num_classes=classes)
        else:
            mask = label_map(scores, classes)
        if self.ignore_empty and not np.isin(scores.labels + 1, mask).all():
            raise ValueError(f'{key}: one of its labels has no pixel, and ignore_empty leaves such an image out')
        if self.confidence:
            best = resize_map(scores.probabilities().max(axis=0), scores.size, 'bilinear')
            mask[best < self.confidence] = ignore_value(classes)
        write_whole(self.output(ctx, key), label_png(mask, classes).getvalue())

    def predicted(self, ctx: Context, key: str) -> np.ndarray:
        return read_label_png(self.output(ctx, key), ctx.data.num_classes + 1)

    def finish(self, ctx: Context, asked: int, failures: dict[str, str]) -> dict[str, Any]:
        result = super().finish(ctx, asked, failures)
        write_list(ctx.folder(self.name) / 'ids.txt', (path.stem for path in self.outputs(ctx)))
        return result
