# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One sample as a metric reads it: arrays of the fields of :mod:`mmentropy.structures`, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from mmentropy.ops.localizing.protocol import localization_map, reads_class_map
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.scaling import draw_maps, upsample_map
from mmentropy.ops.masks import IGNORE_LABEL
from mmentropy.ops.tensors import is_tensor
from mmentropy.structures import (
    CAM_LABELS,
    CAMS,
    ENTROPY_MAP,
    GT_BBOXES,
    GT_CLASS_MASKS,
    GT_LABEL,
    GT_MASK,
    GT_SEG_MAP,
    IGNORE_MASK,
    PART_MASK,
    PRED_LABEL,
    PRED_SCORE,
    grid_in_image,
)

GT_BBOX_LABELS, TILE_BBOX, ORI_SHAPE = 'gt_bbox_labels', 'tile_bbox', 'ori_shape'
#: Label of a map that is no class's own: it serves every class.
ANY_CLASS = -1
#: Where metrics draw maps: where a sample's ``map_grid`` tells, or with half-pixel centres whatever it tells.
DRAWINGS = ('sample', 'half_pixel')


def check_drawing(grid: str) -> str:
    """One of :data:`DRAWINGS`, or a ValueError."""
    if grid not in DRAWINGS:
        raise ValueError(f'grid must be one of {", ".join(DRAWINGS)}, got {grid!r}')
    return grid


def to_numpy(value: Any) -> np.ndarray:
    """A tensor of any device and float type, or anything array-like, as an array."""
    if is_tensor(value):
        value = value.detach().cpu()
        half = value.is_floating_point() and value.element_size() == 2  # numpy has no bfloat16
        return (value.float() if half else value).numpy()
    return np.asarray(value)


def name_of(sample: dict) -> str:
    """How to call a sample in an error message."""
    return str(sample.get('img_path') or f'sample {sample.get("sample_id", "?")}')


class Case:
    """One sample. Each field is converted once, when it is first asked for; a metric pays for what it reads.

    Args:
        sample: a DataSample as a dict, with the fields of :mod:`mmentropy.structures`.
        reader: the metric's name, for messages.
        grid: ``sample`` draws maps where the sample's ``map_grid`` has them; ``half_pixel`` as ``cv2.resize``, the
            field's drawing, for comparison with published figures.

    Raises:
        KeyError: when a field is read that the sample does not have.

    >>> case = Case({'gt_label': [3], 'cams': [[[0.5, 0.0]]], 'cam_labels': [3], 'ori_shape': (20, 10)}, 'Metric')
    >>> case.label, case.size, case.localizing_map(case.label, 'cam').tolist()
    (3, (20, 10), [[0.5, 0.0]])
    """

    def __init__(self, sample: dict, reader: str, grid: str = 'sample') -> None:
        self.sample, self.reader, self.drawing = sample, reader, grid

    @property
    def name(self) -> str:
        """The image's path, or its number."""
        return name_of(self.sample)

    def has(self, field: str) -> bool:
        """Whether the sample has a field."""
        return self.sample.get(field) is not None

    def need(self, field: str) -> Any:
        """A field as it is, or a KeyError that says who reads it."""
        if not self.has(field):
            raise KeyError(f'{self.name} has no {field!r}, which {self.reader} reads')
        return self.sample[field]

    def array(self, field: str) -> np.ndarray:
        """A field as an array."""
        return to_numpy(self.need(field))

    # --- ground truth -----------------------------------------------------------------------------------------------

    @cached_property
    def labels(self) -> list[int]:
        """The classes of the image, at least one."""
        labels = [int(label) for label in self.array(GT_LABEL).reshape(-1)]
        if not labels:
            raise ValueError('it has no label; an image without any class has nothing to localise')
        return labels

    @property
    def label(self) -> int:
        """The one class of the image; several are an error."""
        if len(self.labels) != 1:
            raise ValueError(
                f'it has {len(self.labels)} labels, but {self.reader} evaluates one class an image; '
                'use a data set with one query class an image'
            )
        return self.labels[0]

    @cached_property
    def size(self) -> tuple[int, int]:
        """(height, width) of the original image, in whose pixels boxes are."""
        height, width = self.need(ORI_SHAPE)[:2]
        return height, width

    @cached_property
    def boxes(self) -> np.ndarray:
        """(n, 4) x0 y0 x1 y1."""
        return self.array(GT_BBOXES).reshape(-1, 4)

    def boxes_by_label(self) -> list[tuple[int, np.ndarray]]:
        """(label, its boxes): one label has all boxes, several have those that ``gt_bbox_labels`` gives them."""
        if len(self.labels) == 1:
            return [(self.label, self.boxes)]
        owners = self.array(GT_BBOX_LABELS).reshape(-1)
        pairs = [(label, self.boxes[owners == label]) for label in self.labels if (owners == label).any()]
        if not pairs:
            raise ValueError(f'none of its labels {self.labels} has a box in {GT_BBOX_LABELS}')
        return pairs

    @cached_property
    def mask(self) -> np.ndarray:
        """(H, W) bool, the union of the objects."""
        return self.array(GT_MASK) > 0

    @property
    def part_mask(self) -> np.ndarray:
        """(H, W) bool, the discriminative part."""
        return self.array(PART_MASK) > 0

    @property
    def tile(self) -> np.ndarray:
        """(4,) x0 y0 x1 y1 of the query's tile of a mosaic."""
        return self.array(TILE_BBOX)

    def class_masks(self) -> Sequence[np.ndarray] | None:
        """(H, W) mask of each label's own object; None where only the union of several is known."""
        if self.has(GT_CLASS_MASKS):
            masks = self.array(GT_CLASS_MASKS)
            if len(masks) != len(self.labels):
                raise ValueError(
                    f'{GT_CLASS_MASKS} holds {len(masks)} masks for the {len(self.labels)} labels {self.labels}'
                )
            return masks
        if self.has(GT_SEG_MAP):
            seg_map = self.array(GT_SEG_MAP)
            return [seg_map == label + 1 for label in self.labels]
        return [self.mask] if len(self.labels) == 1 else None

    def left_out(self) -> np.ndarray | None:
        """(H, W) bool of the pixels that count only where they are foreground; None without any."""
        left_out = self.array(IGNORE_MASK) > 0 if self.has(IGNORE_MASK) else None
        if self.has(GT_SEG_MAP):
            border = self.array(GT_SEG_MAP) == IGNORE_LABEL
            left_out = border if left_out is None else border | left_out
        return left_out

    # --- predictions ------------------------------------------------------------------------------------------------

    @cached_property
    def scores(self) -> np.ndarray | None:
        """(C,) of the classes; None without."""
        return self.array(PRED_SCORE) if self.has(PRED_SCORE) else None

    @cached_property
    def predicted(self) -> int | None:
        """The predicted class, else the best score's; None without predictions."""
        if self.has(PRED_LABEL):
            return int(self.array(PRED_LABEL).reshape(-1)[0])
        return None if self.scores is None else int(self.scores.argmax())

    def row(self, label: int) -> int:
        """Which of ``cams`` is the map of a class; one labelled :data:`ANY_CLASS` serves every class."""
        labels = self.array(CAM_LABELS).reshape(-1)
        place = np.flatnonzero((labels == label) | (labels == ANY_CLASS))
        if not len(place):
            raise ValueError(
                f'it has maps of the classes {labels.tolist()} but not of its own, {label}; '
                "let the model's map_classes include 'gt'"
            )
        return int(place[0])

    def class_map(self, label: int) -> np.ndarray:
        """(h, w) raw map of one class."""
        row = self.row(label)
        return to_numpy(self.need(CAMS)[row])

    def localizing_map(self, label: int, localizer: str) -> np.ndarray:
        """(h, w) raw map of one class, see :func:`mmentropy.ops.localizing.protocol.localization_map`."""
        cam = self.class_map(label) if reads_class_map(localizer) else None
        entropy_map = None if localizer == 'cam' else self.array(ENTROPY_MAP)
        return localization_map(cam, entropy_map, localizer)

    @cached_property
    def grid(self) -> MapGrid | None:
        """Where the maps' locations look in the image; None where they tile it."""
        return None if self.drawing == 'half_pixel' else grid_in_image(self.sample)

    def drawn_map(self, label: int, localizer: str, size: tuple[int, int], interpolation: str = 'cubic') -> np.ndarray:
        """(height, width) raw map of one class over the whole image: :meth:`localizing_map`, in its place."""
        return draw_maps(self.localizing_map(label, localizer), size, self.grid, interpolation)

    def normalized_map(
        self, label: int, localizer: str, size: tuple[int, int], interpolation: str = 'cubic'
    ) -> np.ndarray:
        """The same brought to [0, 1] by its minimum and maximum, as the protocol reads it."""
        return upsample_map(self.localizing_map(label, localizer), size, interpolation, grid=self.grid)
