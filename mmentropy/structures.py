# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The names of the fields that travel in a DataSample, in one place.

==================  ============================  =================================================================
field               shape, type                   meaning
==================  ============================  =================================================================
``gt_label``        (n,) long                     label(s)
``gt_score``        (C,) float                    multi-hot label
``gt_bboxes``       (n, 4) float                  x0 y0 x1 y1, pixels of the original image, as the data set has them
``gt_mask``         (H, W) uint8 0/1              object pixels, original size
``gt_seg_map``      (H, W) uint8                  class + 1, 0 background, 255 left out; original size
``gt_class_masks``  (n, H, W) uint8 0/1           object pixels of each of ``gt_label``, where classes may overlap
``ignore_mask``     (H, W) uint8 0/1              pixels left out of the evaluation, original size
``part_mask``       (H, W) uint8 0/1              pixels of the discriminative part, original size
``pred_score``      (C,) float                    scores
``pred_label``      (1,) long                     predicted label
``cams``            (K, h, w) float32             **raw** class maps at feature resolution
``cam_labels``      (K,) long                     which classes the maps belong to
``entropy_map``     (h, w) float32                location entropy in nats
``map_grid``        ``MapGrid``                   where the locations of ``cams`` and ``entropy_map`` look, in pixels of
                                                  the network's input; absent: they tile it (half-pixel centres)
``entropy``         () float                      entropy of the prediction in nats
``ori_shape``       (H, W)                        size of the original image
``img_path``        str                           where it came from
``sample_id``       int                           index in the data set
==================  ============================  =================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmentropy.ops.mapping.geometry import MapGrid

GT_LABEL = 'gt_label'
GT_SCORE = 'gt_score'
GT_BBOXES = 'gt_bboxes'
GT_MASK = 'gt_mask'
GT_SEG_MAP = 'gt_seg_map'
GT_CLASS_MASKS = 'gt_class_masks'
IGNORE_MASK = 'ignore_mask'
PART_MASK = 'part_mask'
PRED_SCORE = 'pred_score'
PRED_LABEL = 'pred_label'
CAMS = 'cams'
CAM_LABELS = 'cam_labels'
ENTROPY_MAP = 'entropy_map'
ENTROPY = 'entropy'
MAP_GRID = 'map_grid'

#: A label from this on is a slip of the hand: arrays and names for so many classes would fill the memory.
MOST_CLASSES = 1_000_000
#: What a localisation data set adds to the host's fields; ``PackInputs(algorithm_keys=LOCALIZATION_KEYS)``.
LOCALIZATION_KEYS = (GT_BBOXES, GT_MASK, GT_SEG_MAP, GT_CLASS_MASKS, IGNORE_MASK, PART_MASK)


def grid_in_image(sample: Any) -> MapGrid | None:
    """Where the maps of a sample look, in the original image: its boxes and masks are there.

    What the test pipeline did is read from the host's ``ori_shape``, ``scale_factor`` and ``img_shape``; see
    :meth:`mmentropy.ops.mapping.geometry.MapGrid.before_pipeline`.

    Args:
        sample: a DataSample, or one as a dict.

    Returns:
        The grid; None where the sample has none, and its maps tile the image.

    >>> grid_in_image({'map_grid': MapGrid((0, 0), (32, 32), (224, 224)), 'ori_shape': (500, 375)})
    MapGrid(start=(0.0, 0.0), step=(32.0, 32.0), size=(224, 224))
    """
    grid = sample.get(MAP_GRID)
    if grid is None:
        return None
    grid = grid if isinstance(grid, MapGrid) else MapGrid.from_array(grid)
    original = sample.get('ori_shape')
    if original is None:
        return grid
    seen = sample.get('img_shape')
    return grid.before_pipeline(tuple(original[:2]), sample.get('scale_factor'), None if seen is None else seen[:2])


def grid_in_picture(sample: Any, size: tuple[int, int]) -> MapGrid | None:
    """Where the maps of a sample look, in a picture of it: what the pipeline gave, or the original image.

    Args:
        sample: a DataSample, or one as a dict.
        size: (height, width) of the picture; that of ``img_shape`` is taken for the pipeline's, to which a batch may
            have added padding at the bottom and right.

    >>> sample = {'map_grid': MapGrid((0, 0), (32, 32), (256, 256)), 'ori_shape': (500, 375), 'img_shape': (224, 224)}
    >>> grid_in_picture(sample, (224, 224))
    MapGrid(start=(0.0, 0.0), step=(32.0, 32.0), size=(224, 224))
    """
    grid, seen = sample.get(MAP_GRID), sample.get('img_shape')
    if grid is None or seen is None or tuple(seen[:2]) != tuple(size):
        return grid_in_image(sample)
    grid = grid if isinstance(grid, MapGrid) else MapGrid.from_array(grid)
    return grid.before_padding(0, (int(size[0]), int(size[1])))


#: Larger inputs and drawn maps are a slip of the hand: one float map of this side takes 268 MB.
MOST_SIDE = 8192


def height_and_width(size: int | Sequence[int], told: str = 'input_size') -> tuple[int, int]:
    """A size in pixels, given as its side or as (height, width).

    Raises:
        ValueError: for other numbers of numbers, and for sizes below 1 or above :data:`MOST_SIDE`.

    >>> height_and_width(224), height_and_width([96, 64])
    ((224, 224), (96, 64))
    """
    pair = [size] if isinstance(size, int) else list(size)
    if len(pair) not in (1, 2) or not 1 <= min(pair) <= max(pair) <= MOST_SIDE:
        raise ValueError(
            f'{told} is a side, or height and width, in pixels from 1 to {MOST_SIDE}, got {" ".join(map(str, pair))}'
        )
    return pair[0], pair[-1]
