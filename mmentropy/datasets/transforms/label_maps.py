# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Masks of any number of classes for mmsegmentation, whose own reader keeps eight bits."""

from __future__ import annotations

from pathlib import Path

from mmcv.transforms import BaseTransform

from mmentropy.datasets.label_png import read_label_png
from mmentropy.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadLabelMap(BaseTransform):
    """``seg_map_path`` → ``gt_seg_map``, by the door that the pipeline's masks are written and read through.

    mmsegmentation's ``LoadAnnotations`` reads sixteen bits as eight: class 300 would become 44.

    Args:
        num_classes: C of the set, with background; beyond 255 the map is uint16, and 65535 is left out, which
            ``ignore_index`` of the heads and ``seg_pad_val`` of the preprocessor have to be.

    >>> import numpy as np
    >>> from mmentropy.datasets.label_png import label_png
    >>> _ = Path('a.png').write_bytes(label_png(np.array([[300, 65535]]), 301).getvalue())
    >>> LoadLabelMap(num_classes=301)({'seg_map_path': 'a.png', 'seg_fields': []})['gt_seg_map'].tolist()
    [[300, 65535]]
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def transform(self, results: dict) -> dict:
        """Read the file; raises as :func:`~mmentropy.datasets.label_png.read_label_png`."""
        results['gt_seg_map'] = read_label_png(Path(results['seg_map_path']), self.num_classes)
        results['seg_fields'] = [*results.get('seg_fields', ()), 'gt_seg_map']
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_classes={self.num_classes})'
