# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What a data set gives, drawn: boxes and masks on the image, as the readers and the pipelines see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile

from mmentropy.datasets.transforms.sample_loading import AS_STORED, LoadLocalizationMasks, load_sample
from mmentropy.visualization.panels import GT_COLOR, add_caption, draw_boxes, fit_image, join_tiles, scale_boxes

#: RGB of the outlines; a query's tile in a mosaic is drawn in the last one.
OUTLINES = {'ignore_mask': (160, 160, 160), 'gt_mask': GT_COLOR, 'part_mask': (240, 60, 60)}
TILE_COLOR = (40, 200, 240)


def original_sample(data: Any, index: int) -> dict:
    """Image and ground truth of a data set before any augmentation, in original pixels."""
    info = data.get_data_info(index)
    if 'img' in info:
        return info
    masks = None if getattr(data, 'MASKS_OF_IMAGE_SIZE', True) else (224, 224)
    where = data.where(info) if hasattr(data, 'where') else info['img_path']
    return load_sample(info, [LoadImageFromFile(color_type=AS_STORED), LoadLocalizationMasks(masks)], where)


def packed_image(sample: dict) -> np.ndarray:
    """The image that a pipeline packed for the model, (H, W, 3) uint8, BGR."""
    inputs: torch.Tensor = sample['inputs']
    return np.ascontiguousarray(inputs.permute(1, 2, 0).clamp(0, 255).to(torch.uint8).numpy())


def draw_sample(info: dict, side: int = 160, classes: Sequence[str] | None = None) -> np.ndarray:
    """One tile: the image scaled to ``side``, outlines of its masks, its boxes, and its label(s) above.

    Args:
        info: a sample with ``img`` (BGR) and, where present, ``gt_bboxes``, masks, ``tile_bbox`` and ``gt_label``.
        side: of the longer side, pixels.
        classes: names of the labels.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    old = info['img'].shape[:2]
    tile = fit_image(info['img'][..., ::-1], side)
    new = tile.shape[:2]
    for key, color in OUTLINES.items():
        if info.get(key) is not None and np.any(info[key]):
            mask = cv2.resize(np.ascontiguousarray(info[key]), new[::-1], interpolation=cv2.INTER_NEAREST)
            lines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(tile, lines, -1, color, 1)
    tile = draw_boxes(tile, scale_boxes(info.get('gt_bboxes', ()), old, new), GT_COLOR, 1)
    tile = draw_boxes(tile, scale_boxes(info.get('tile_bbox', ()), old, new), TILE_COLOR, 1)
    labels = info.get('gt_label', [])
    labels = labels if isinstance(labels, list) else [labels]
    return add_caption(tile, ', '.join(str(classes[label]) if classes else str(label) for label in labels), 16)


def montage(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Tiles row by row on white, RGB."""
    rows = [join_tiles(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return join_tiles(rows, axis=0)
