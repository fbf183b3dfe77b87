# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Masks as COCO's result file, beside the palette PNGs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmentropy.datasets.label_png import read_label_png
from mmentropy.ops.run_lengths import compress_runs, encode_runs
from mmentropy.ops.seeding.confusion import ignore_value
from mmentropy.registry import STAGES
from mmentropy.safe_files import write_whole

from .stage import Context, Stage, first_does

SEGMENTS = 'segments.json'


def coco_segments(
    mask: np.ndarray,
    image_id: str | int,
    num_classes: int = 255,
    category_id: Callable[[int], int] = lambda label: label + 1,
) -> list[dict[str, Any]]:
    """One entry a class of a mask, as COCO's results have them: run lengths column by column, compressed.

    Args:
        mask: (H, W) classes, 0 background; :func:`~mmentropy.ops.seeding.confusion.ignore_value` is left out.
        image_id: of the image; digits become a number, as COCO's ids are.
        num_classes: C of the set, with background.
        category_id: class from 0 → what the file calls it; by default the value in the mask, class + 1.

    >>> coco_segments(np.array([[0, 2], [2, 2]]), '000042')
    [{'image_id': 42, 'category_id': 2, 'segmentation': {'size': [2, 2], 'counts': '13'}}]
    """
    number = int(image_id) if str(image_id).isdigit() else image_id
    height, width = mask.shape
    return [
        {
            'image_id': number,
            'category_id': category_id(int(value) - 1),
            'segmentation': {'size': [height, width], 'counts': compress_runs(encode_runs(mask == value))},
        }
        for value in np.unique(mask)
        if value not in (0, ignore_value(num_classes))
    ]


@STAGES.register_module()
class ExportCoco(Stage):
    """Writes the masks of a stage as one ``segments.json`` that ``pycocotools`` reads.

    Images and categories have the ids of the set's own JSON file where the data is
    :class:`~mmentropy.datasets.sources.CocoInstances`.

    Args:
        name: see :class:`Stage`.
        source: ``PseudoMasks`` or ``Test``.
        split: the list that the masks are of, where that is not the pipeline's: the ``split`` of ``Test``.

    >>> STAGES.build(dict(type='ExportCoco', source='masks')).needs
    ['masks']
    """

    SECONDS, BYTES = 0.005, 1_000

    def __init__(self, name: str = 'coco', source: str | None = None, split: str | None = None) -> None:
        super().__init__(name, source)
        self.split = split

    def masks(self, ctx: Context) -> list[Path]:
        """The PNGs of the source."""
        return sorted(ctx.folder(self.source or '').glob('*.png'))

    def depends(self, ctx: Context) -> dict[str, str]:
        paths = self.masks(ctx)
        return {'the masks': ctx.digests.of_all(paths), 'their number': str(len(paths))}

    def outputs(self, ctx: Context) -> list[Path]:
        path = ctx.folder(self.name) / SEGMENTS
        return [path] if path.is_file() else []

    def run(self, ctx: Context) -> dict[str, Any]:
        return first_does(ctx, self, 'export', lambda: self.write(ctx))

    def write(self, ctx: Context) -> dict[str, Any]:
        """Write the file; raises ValueError for a mask that cannot be read, or if there is none."""
        paths = self.masks(ctx)
        if not paths:
            raise ValueError(f'{self.name}: {self.source} has no masks; its source is PseudoMasks or Test')
        data, segments = ctx.data.on(self.split or ctx.data.split), []
        classes = data.num_classes + 1
        for path in paths:
            mask = read_label_png(path, classes)
            segments += coco_segments(mask, data.image_number(path.stem), classes, data.category_id)
        write_whole(ctx.folder(self.name) / SEGMENTS, json.dumps(segments))
        return {'images': len(paths), 'segments': len(segments)}
