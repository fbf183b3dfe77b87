# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""PASCAL VOC 2012 as a multi-label set with boxes and segmentations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmentropy.datasets.readers.base import LocalizationDataset
from mmentropy.datasets.readers.parsing import check_box, read_rows, read_voc_xml
from mmentropy.registry import DATASETS

VOC_CLASSES = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow',
    'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor',
)  # fmt: skip


@DATASETS.register_module()
class VOC2012MultiLabel(LocalizationDataset):
    """The segmentation lists of VOC 2012: 1 464 ``train``, 10 582 ``trainaug`` and 1 449 ``val`` images of 20 classes.

    ::

        data_root                                          …/VOCdevkit/VOC2012
        ├── Annotations/<id>.xml                           labels and boxes of every image, coordinates from 1
        ├── ImageSets/Segmentation/{train,trainaug,val}.txt
        ├── JPEGImages/<id>.jpg
        ├── SegmentationClass/<id>.png                     palette 0–20, 255 at borders
        └── SegmentationClassAug/<id>.png                  for ``trainaug``: SBD's masks in the same palette

    A box is x0 = xmin − 1, y0 = ymin − 1, x1 = xmax, y1 = ymax: the edges of its pixels. ``gt_bbox_labels`` tells the
    class of each. Pipelines that load masks also get ``gt_seg_map`` (the palette's indices).

    Args:
        data_root: see the tree.
        split: ``train``, ``trainaug`` or ``val``.
        difficult: count objects marked difficult, as common weakly supervised label lists do (mmpretrain's ``VOC``
            drops them). An image with difficult objects only has no label without them, and is left out.
        with_masks: name the masks, for ``LoadLocalizationMasks``.
        **kwargs: of :class:`LocalizationDataset`.

    >>> dataset = VOC2012MultiLabel('data/VOC2012', 'trainaug', lazy_init=True)
    >>> dataset.index_files(), dataset.class_names()[0]
    (['data/VOC2012/ImageSets/Segmentation/trainaug.txt'], 'aeroplane')
    """

    NAME = 'voc12'
    SPLITS = ('train', 'trainaug', 'val')
    TRAIN_SPLITS = ('train', 'trainaug')
    MULTI_LABEL = True
    COUNTS = {'train': 1464, 'trainaug': 10_582, 'val': 1449}
    MASK_FORMAT = 'palette'

    def __init__(
        self,
        data_root: str = '',
        split: str = 'train',
        *,
        difficult: bool = True,
        with_masks: bool = True,
        **kwargs: Any,
    ) -> None:
        self.difficult, self.with_masks = difficult, with_masks
        super().__init__(data_root, split, **kwargs)

    def index_files(self) -> list[str]:
        """The split's list."""
        return [self.path('ImageSets', 'Segmentation', f'{self.split}.txt')]

    def class_names(self) -> tuple[str, ...]:
        """The 20 classes in the usual order; palette index = label + 1."""
        return VOC_CLASSES

    def parse_index(self) -> Iterator[dict]:
        """One entry an id of the list."""
        labels = {name: i for i, name in enumerate(VOC_CLASSES)}
        masks = 'SegmentationClassAug' if self.split == 'trainaug' else 'SegmentationClass'
        (file,) = self.index_files()
        for line, (key,) in read_rows(file, 1, None, 'one image id', self.hint, self.backend_args):
            xml = self.path('Annotations', f'{key}.xml')
            size, objects = read_voc_xml(xml, self.hint, self.backend_args)
            targets = []
            for one in objects:
                if one.name not in labels:
                    raise ValueError(f'{xml}: {one.name!r} is not a class of VOC')
                box = [one.box[0] - 1, one.box[1] - 1, *one.box[2:]]
                check_box(box, xml, size, self.BOX_SLACK)
                if self.difficult or not one.difficult:
                    targets.append((labels[one.name], box))
            if not targets:
                continue
            entry = dict(img_path=self.path('JPEGImages', f'{key}.jpg'), row=line)
            entry['gt_label'] = sorted({label for label, _ in targets})
            entry['gt_bboxes'], entry['gt_bbox_labels'] = [box for _, box in targets], [label for label, _ in targets]
            if self.with_masks:
                entry['mask_paths'] = [self.path(masks, f'{key}.png')]
            yield entry

    def cache_key(self) -> tuple:
        """The options that change the entries."""
        return self.difficult, self.with_masks
