# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Masks as COCO's result file, beside the palette PNGs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mmentropy.ops.run_lengths import compress_runs, encode_runs
from mmentropy.ops.seeding.confusion import IGNORE
from mmentropy.registry import STAGES
from mmentropy.safe_files import write_whole

from .files import read_label_png
from .stage import Context, Stage, first_does

SEGMENTS = 'segments.json'


def coco_segments(mask: np.ndarray, image_id: str | int) -> list[dict[str, Any]]:
    """One entry a class of a mask, as COCO's results have them: run lengths column by column, compressed.

    Args:
        mask: (H, W) classes, 0 background, 255 left out.
        image_id: of the image; digits become a number, as COCO's ids are.

    Returns:
        ``category_id`` is the value in the mask: class + 1.

    >>> coco_segments(np.array([[0, 2], [2, 2]]), '000042')
    [{'image_id': 42, 'category_id': 2, 'segmentation': {'size': [2, 2], 'counts': '13'}}]
    """
    number = int(image_id) if str(image_id).isdigit() else image_id
    height, width = mask.shape
    return [
        {
            'image_id': number,
            'category_id': int(value),
            'segmentation': {'size': [height, width], 'counts': compress_runs(encode_runs(mask == value))},
        }
        for value in np.unique(mask)
        if value not in (0, IGNORE)
    ]


@STAGES.register_module()
class ExportCoco(Stage):
    """Writes the masks of a stage as one ``segments.json`` that ``pycocotools`` reads.

    Args:
        name: see :class:`Stage`.
        source: ``PseudoMasks`` or ``Test``.

    >>> STAGES.build(dict(type='ExportCoco', source='masks')).needs
    ['masks']
    """

    SECONDS, BYTES = 0.005, 1_000

    def __init__(self, name: str = 'coco', source: str | None = None) -> None:
        super().__init__(name, source)

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
        segments = []
        for path in paths:
            segments += coco_segments(read_label_png(path, ctx.data.num_classes + 1), path.stem)
        write_whole(ctx.folder(self.name) / SEGMENTS, json.dumps(segments))
        return {'images': len(paths), 'segments': len(segments)}
