# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Packing of localisation ground truth beside the host's fields."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmpretrain.datasets.transforms import PackInputs

from mmentropy.datasets.transforms.sample_loading import GROUND_TRUTH
from mmentropy.registry import TRANSFORMS
from mmentropy.structures import LOCALIZATION_KEYS

#: What this package's data sets may add to a sample.
EXTRA_KEYS = (*LOCALIZATION_KEYS, 'gt_bbox_labels', 'tile_bbox')


@TRANSFORMS.register_module()
class PackLocalizationInputs(PackInputs):
    """mmpretrain's ``PackInputs`` that also packs the localisation ground truth that a sample has, as tensors.

    Boxes and segmentation map are packed as the data set has them, in pixels of the original image (``ori_shape``),
    whatever the pipeline's ``Resize``, crops and flips did to their copies.

    Args:
        input_key: as in ``PackInputs``.
        algorithm_keys: packed where present; by default boxes, masks, part mask, the query's tile, ….
        meta_keys: as in ``PackInputs``, with ``sample_id``.

    >>> boxes = np.array([[1, 2, 5, 6]])
    >>> packed = PackLocalizationInputs()({'img': np.zeros((8, 9, 3), np.uint8), 'gt_label': 3, 'gt_bboxes': boxes})
    >>> packed['inputs'].shape, packed['data_samples'].gt_label, packed['data_samples'].gt_bboxes
    (torch.Size([3, 8, 9]), tensor([3]), tensor([[1, 2, 5, 6]]))
    """

    def __init__(
        self,
        input_key: str = 'img',
        algorithm_keys: Sequence[str] = EXTRA_KEYS,
        meta_keys: Sequence[str] = (*PackInputs.DEFAULT_META_KEYS, 'sample_id'),
    ) -> None:
        super().__init__(input_key, tuple(algorithm_keys), tuple(meta_keys))

    def transform(self, results: dict) -> dict:
        """Arrays become tensors; the rest is the host's."""
        results.update({k: v for k, v in results.pop(GROUND_TRUTH, {}).items() if k in results})
        for key in self.algorithm_keys:
            if isinstance(results.get(key), np.ndarray):
                results[key] = torch.from_numpy(np.ascontiguousarray(results[key]))
        return super().transform(results)
