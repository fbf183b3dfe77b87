# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From a localisation sample to a segmentation sample."""

from __future__ import annotations

from mmcv.transforms import BaseTransform

from mmentropy.registry import TRANSFORMS


@TRANSFORMS.register_module()
class MaskToSegMap(BaseTransform):
    """Turn ``gt_mask`` into ``gt_seg_map`` (0 background, 1 object), which mmsegmentation's transforms and models read.

    Raises:
        ValueError: for a sample without a mask.

    >>> import numpy as np
    >>> MaskToSegMap()({'gt_mask': np.array([[0, 255]])})['gt_seg_map'].tolist()
    [[0, 1]]
    """

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map`` and name it among the ``seg_fields``."""
        if results.get('gt_mask') is None:
            name = results.get('img_path') or results.get('sample_idx')
            raise ValueError(f'{name} has no gt_mask to learn from; put mmentropy.LoadLocalizationMasks before')
        results['gt_seg_map'] = (results.pop('gt_mask') > 0).astype('uint8')
        results['seg_fields'] = [*results.get('seg_fields', ()), 'gt_seg_map']
        return results
