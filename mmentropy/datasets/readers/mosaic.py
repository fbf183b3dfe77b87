# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""``MosaicLocalization``: k×k photographs of different classes in one image, which takes the centre bias away."""

from __future__ import annotations

from mmentropy import _needs_hosts  # noqa: F401  quiets mmpretrain before it is imported

# isort: split
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmpretrain.datasets import BaseDataset

from mmentropy.datasets.drawn.shapes import Draws
from mmentropy.datasets.transforms.sample_loading import (
    AS_STORED,
    LoadLocalizationMasks,
    keep_ground_truth,
    load_sample,
)
from mmentropy.registry import DATASETS

#: Stream of random numbers of the mosaics, apart from those of PartShapes' splits.
STREAM = 64
MASKS = ('gt_mask', 'ignore_mask', 'part_mask')


@DATASETS.register_module()
class MosaicLocalization(BaseDataset):
    """Tiles of a boxed set, of pairwise different classes, with the boxes (and masks) moved along.

    Mosaic i holds image i of the wrapped set as its *query* in a random tile, and k² − 1 random images of other
    classes. Everything follows from (seed, i). The wrapped set's own pipeline is not used.

    A sample holds ``img`` (so no loading transform is wanted), ``gt_label``, ``gt_bboxes`` in mosaic pixels, the masks
    that the wrapped set has, ``tile_bbox`` (4,) x0 y0 x1 y1 (edges) of the query's tile and ``tile_labels`` (k²,) row
    by row. With ``query='all'`` a masked set also gives ``gt_class_masks`` (k², H, W), one for each of ``gt_label``.

    Args:
        dataset: the wrapped set, its config or itself.
        grid: k, tiles a side, at least 2.
        tile_size: side of a tile in pixels, or (height, width); images are resized to it without keeping their aspect.
        query: ``one``: a single label, the query's, with the boxes of its tile alone; ``all``: the labels and boxes of
            all tiles, a multi-label image.
        seed: of the choice of partners and places.
        pipeline: transforms after the mosaic is made.
        test_mode: as in mmengine.
        backend_args: of ``mmengine.fileio``, for images and masks.
        **kwargs: of mmpretrain's ``BaseDataset`` (``indices`` …).

    Raises:
        ValueError: for a multi-label wrapped set, or one with fewer than k² classes.

    >>> from mmentropy.datasets import PartShapes
    >>> dataset = MosaicLocalization(PartShapes(length=4, num_classes=4), grid=2, tile_size=32)
    >>> sample = dataset[0]
    >>> sample['img'].shape, sample['gt_label'], sorted(sample['tile_labels'].tolist())
    ((64, 64, 3), 0, [0, 1, 2, 3])
    """

    def __init__(
        self,
        dataset: dict | BaseDataset,
        grid: int = 2,
        tile_size: int | tuple[int, int] = 64,
        query: str = 'one',
        seed: int = 0,
        pipeline: Sequence = (),
        test_mode: bool = True,
        backend_args: dict | None = None,
        **kwargs: Any,
    ) -> None:
        if grid < 2:
            raise ValueError(f'a mosaic needs grid of 2 or more, got {grid}')
        if query not in ('one', 'all'):
            raise ValueError(f"query must be 'one' or 'all', got {query!r}")
        self.source = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.grid, self.query, self.seed = grid, query, seed
        self.tile = (tile_size, tile_size) if isinstance(tile_size, int) else tuple(tile_size)
        load_image = LoadImageFromFile(color_type=AS_STORED, backend_args=backend_args)
        self.loaders = [load_image, LoadLocalizationMasks(backend_args=backend_args)]
        kwargs['metainfo'] = {**self.source.metainfo, **(kwargs.get('metainfo') or {})}
        kwargs.setdefault('serialize_data', False)  # an entry is some integers
        super().__init__(ann_file='', pipeline=pipeline, test_mode=test_mode, **kwargs)

    @property
    def multi_label(self) -> bool:
        """Whether a sample has several labels."""
        return self.query == 'all'

    def load_data_list(self) -> list[dict]:
        """Choose partners and places: an entry holds the wrapped set's indices tile by tile and the query's tile."""
        labels = [self.source.get_data_info(i)['gt_label'] for i in range(len(self.source))]
        if any(isinstance(label, list) for label in labels):
            raise ValueError('a mosaic is made of single-label images; the wrapped set has several labels an image')
        labels = np.array(labels)
        count, members = self.grid**2, {int(c): np.flatnonzero(labels == c).tolist() for c in np.unique(labels)}
        if len(members) < count:
            raise ValueError(
                f'a {self.grid}×{self.grid} mosaic needs {count} classes, the wrapped set has {len(members)}'
            )
        entries = []
        for i, label in enumerate(labels.tolist()):
            draws = Draws(self.seed, STREAM, i, words=2 * count)
            others = [c for c in members if c != label]
            place = draws.integer(0, count)
            tiles = []
            for tile in range(count):
                if tile == place:
                    tiles.append(i)
                    continue
                choices = members[others.pop(draws.integer(0, len(others)))]
                tiles.append(choices[draws.integer(0, len(choices))])
            entries.append(dict(tiles=tiles, place=place, gt_label=label))
        return entries

    def get_data_info(self, idx: int) -> dict:
        """Make mosaic ``idx``."""
        entry = super().get_data_info(idx)
        tiles = [self._load(j) for j in entry['tiles']]
        height, width = self.tile
        img = np.empty((self.grid * height, self.grid * width, *tiles[0]['img'].shape[2:]), dtype=np.uint8)
        boxes, labels, masks = [], [], {}
        for t, info in enumerate(tiles):
            y, x = t // self.grid * height, t % self.grid * width
            area = slice(y, y + height), slice(x, x + width)
            img[area] = self._resize(info['img'])
            if self.query == 'one' and t != entry['place']:
                continue
            rows, columns = info['img'].shape[:2]
            scale = np.array([width / columns, height / rows] * 2, dtype=np.float32)
            boxes.append(info['gt_bboxes'] * scale + np.array([x, y, x, y], dtype=np.float32))
            labels += [info['gt_label']] * len(info['gt_bboxes'])
            for key in MASKS:
                if key in info:
                    whole = masks.setdefault(key, np.zeros(img.shape[:2], dtype=np.uint8))
                    whole[area] = self._resize(info[key], cv2.INTER_NEAREST)
        y, x = entry['place'] // self.grid * height, entry['place'] % self.grid * width
        every = [info['gt_label'] for info in tiles]
        if self.multi_label and 'gt_mask' in masks:
            masks['gt_class_masks'] = np.stack([self._only(t, masks['gt_mask']) for t in np.argsort(every)])
        return dict(
            img=img,
            img_shape=img.shape[:2],
            ori_shape=img.shape[:2],
            sample_idx=entry['sample_idx'],
            sample_id=entry['sample_idx'],
            gt_label=sorted(every) if self.multi_label else entry['gt_label'],
            gt_bboxes=np.concatenate(boxes),
            gt_bbox_labels=np.array(labels, dtype=np.int64),
            tile_bbox=np.array([x, y, x + width, y + height], dtype=np.float32),
            tile_labels=np.array(every, dtype=np.int64),
            **masks,
        )

    def prepare_data(self, idx: int) -> Any:
        """The sample through the pipeline."""
        return self.pipeline(keep_ground_truth(self.get_data_info(idx)))

    def _load(self, index: int) -> dict:
        """One raw image of the wrapped set with its ground truth."""
        info = self.source.get_data_info(index)
        if 'img' not in info:
            where = self.source.where(info) if hasattr(self.source, 'where') else str(info.get('img_path'))
            info = load_sample(info, self.loaders, where, getattr(self.source, 'BOX_SLACK', 1.0))
        if 'gt_bboxes' not in info:
            raise ValueError(f'image {index} of {type(self.source).__name__} has no boxes; a mosaic needs a boxed set')
        return info

    def _only(self, tile: int, mask: np.ndarray) -> np.ndarray:
        """The mask of the whole mosaic within one tile, zero elsewhere."""
        height, width = self.tile
        y, x = tile // self.grid * height, tile % self.grid * width
        only = np.zeros_like(mask)
        only[y : y + height, x : x + width] = mask[y : y + height, x : x + width]
        return only

    def _resize(self, array: np.ndarray, interpolation: int | None = None) -> np.ndarray:
        height, width = self.tile
        if array.shape[:2] == (height, width):
            return array
        if interpolation is None:
            shrinks = array.shape[0] * array.shape[1] > height * width
            interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(array, (width, height), interpolation=interpolation)

    def get_cat_ids(self, idx: int) -> list[int]:
        """The label(s) of mosaic ``idx``."""
        label = self.get_data_info(idx)['gt_label']
        return label if isinstance(label, list) else [label]

    def extra_repr(self) -> list[str]:
        """Grid, tile and the wrapped set, for ``repr``."""
        return [f'Grid: \t{self.grid}×{self.grid} of {self.tile}', f'Query: \t{self.query}', f'Of: \t{self.source}']
