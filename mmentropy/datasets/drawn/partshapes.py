# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""``PartShapes``: the built-in data set, drawn on the fly with exact boxes, object masks and part masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset

from mmentropy.datasets.drawn.shapes import draw_scene
from mmentropy.datasets.transforms.sample_loading import keep_ground_truth
from mmentropy.ops.masks import IGNORE_LABEL
from mmentropy.registry import DATASETS

#: Stream of the random numbers of each split: no image is in two of them.
SPLITS = {'train': 0, 'val': 1, 'test': 2}


@DATASETS.register_module()
class PartShapes(BaseDataset):
    """Objects told apart by a small part; :mod:`mmentropy.datasets.drawn.shapes` draws them from (seed, split, index).

    Needs no file. Every class shares the distribution of body shapes, sizes, places and colours; a class shows in a
    part of 10 to 25 % of the object's area, in a weak body texture, and in a background that co-occurs with a set
    probability.

    A sample holds ``img`` (BGR, so no loading transform is wanted), ``gt_label``, ``gt_bboxes`` (x0 y0 x1 y1, edges:
    x1 and y1 exclusive), ``gt_bbox_labels``, ``gt_mask``, ``part_mask`` and, for scenes of several objects or on
    request, ``gt_seg_map`` (class + 1, 0 background) and ``instances`` (0 background, i + 1 the i-th object).

    Args:
        split: ``train``, ``val`` or ``test``.
        length: number of images.
        num_classes: number of classes, at least 2.
        image_size: side of the images, pixels, at least 32.
        num_objects: objects an image, or (smallest, largest); they are of different classes.
        cooccurrence: probability that the background is the one of the first object's class, in [0, 1].
        seed: of the whole set, all splits.
        multi_label: give a list of labels; by default when an image may hold several objects.
        with_seg_map: add ``gt_seg_map`` and ``instances``; by default when an image may hold several objects (of up to
            254 classes: 255 means left out).
        pipeline: transforms.
        test_mode: by default for every split but ``train``.
        **kwargs: of mmpretrain's ``BaseDataset`` (``indices`` …).

    >>> dataset = PartShapes(length=1, num_classes=4, image_size=32)
    >>> image, part, whole = (dataset[0][field] for field in ('img', 'part_mask', 'gt_mask'))
    >>> image.shape, whole.shape, bool((part <= whole).all())
    ((32, 32, 3), (32, 32), True)
    """

    def __init__(
        self,
        split: str = 'train',
        length: int = 2000,
        num_classes: int = 10,
        image_size: int = 64,
        num_objects: int | tuple[int, int] = 1,
        cooccurrence: float = 0.5,
        seed: int = 0,
        multi_label: bool | None = None,
        with_seg_map: bool | None = None,
        pipeline: Sequence = (),
        test_mode: bool | None = None,
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'PartShapes has the splits {sorted(SPLITS)}, not {split!r}')
        if length < 1:
            raise ValueError(f'PartShapes needs a length of 1 or more, got {length}')
        low, high = (num_objects, num_objects) if isinstance(num_objects, int) else num_objects
        self.length, self.split = length, split
        self.scene = dict(num_classes=num_classes, size=image_size, num_objects=(low, high), cooccurrence=cooccurrence)
        self.seed = seed
        self.with_seg_map = high > 1 and num_classes < IGNORE_LABEL if with_seg_map is None else with_seg_map
        self.multi_label = high > 1 if multi_label is None else multi_label
        draw_scene(seed, SPLITS[split], 0, **self.scene)  # a wrong option is named here, not in a worker
        names = tuple(f'shape_{label:02d}' for label in range(num_classes))
        kwargs['metainfo'] = {'classes': names, **(kwargs.get('metainfo') or {})}
        kwargs.setdefault('serialize_data', False)  # an entry is some integers
        test_mode = split != 'train' if test_mode is None else test_mode
        super().__init__(ann_file='', pipeline=pipeline, test_mode=test_mode, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One small entry an image: its index in the stream and its first label."""
        return [dict(index=i, gt_label=i % self.scene['num_classes']) for i in range(self.length)]

    def get_data_info(self, idx: int) -> dict:
        """Draw image ``idx`` with its ground truth."""
        info = super().get_data_info(idx)
        scene = draw_scene(self.seed, SPLITS[self.split], info.pop('index'), **self.scene)
        info.update(
            img=scene.image,
            img_shape=scene.image.shape[:2],
            ori_shape=scene.image.shape[:2],
            sample_id=info['sample_idx'],
            gt_label=sorted(set(scene.labels)) if self.multi_label else scene.labels[0],
            gt_bboxes=scene.boxes.astype(np.float32),
            gt_bbox_labels=np.array(scene.labels, dtype=np.int64),
            gt_mask=(scene.instances > 0).astype(np.uint8),
            part_mask=scene.parts,
        )
        if self.with_seg_map:
            lookup = np.array([0] + [label + 1 for label in scene.labels], dtype=np.uint8)
            info.update(gt_seg_map=lookup[scene.instances], instances=scene.instances)
        return info

    def prepare_data(self, idx: int) -> Any:
        """The sample through the pipeline."""
        return self.pipeline(keep_ground_truth(self.get_data_info(idx)))

    def get_cat_ids(self, idx: int) -> list[int]:
        """The labels of image ``idx``."""
        label = self.get_data_info(idx)['gt_label']
        return label if isinstance(label, list) else [label]

    def extra_repr(self) -> list[str]:
        """The options, for ``repr``."""
        return [f'Split: \t{self.split}', f'Seed: \t{self.seed}', *(f'{k}: \t{v}' for k, v in self.scene.items())]
