# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The drawn scenes of a folder in VOC's layout, written as COCO, as folders of masks, and as a table of labels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmentropy.datasets.label_png import label_png
from mmentropy.datasets.sources import CocoInstances, LabelledImages, MaskFolders, VOCFolder
from mmentropy.ops.run_lengths import compress_runs, encode_runs
from mmentropy.ops.seeding.confusion import ignore_value

#: What a table of three hundred classes calls class 0, 1 … of the scenes.
WIDE = (250, 254, 255, 256, 299)
SPLITS = ('train', 'val')


def as_coco(voc: VOCFolder, root: Path) -> CocoInstances:
    """Categories 7, 17 … in VOC's order, listed backwards; a segmentation a class, whose borders are background."""
    categories = [dict(id=10 * label + 7, name=name) for label, name in enumerate(voc.classes)][::-1]
    (root / 'annotations').mkdir(parents=True)
    for split in SPLITS:
        (root / f'{split}2017').mkdir()
        images, annotations = [], []
        for number, key in enumerate(voc.ids(split), start=100):
            mask = voc.mask(key)
            shutil.copy(voc.image_path(key), root / f'{split}2017/{key}.jpg')
            images.append(dict(id=number, file_name=f'{key}.jpg', height=mask.shape[0], width=mask.shape[1]))
            for label in voc.labels(key):
                counts = compress_runs(encode_runs(mask == label + 1))
                annotations.append(
                    dict(
                        id=len(annotations),
                        image_id=number,
                        category_id=10 * int(label) + 7,
                        segmentation=dict(size=list(mask.shape), counts=counts),
                    )
                )
        content = dict(images=images, annotations=annotations, categories=categories)
        (root / f'annotations/instances_{split}2017.json').write_text(json.dumps(content))
    return CocoInstances(str(root))


def as_folders(voc: VOCFolder, root: Path) -> MaskFolders:
    """The masks as they are; 0 is the background."""
    for split in SPLITS:
        for kind in ('images', 'annotations'):
            (root / kind / split).mkdir(parents=True)
        for key in voc.ids(split):
            shutil.copy(voc.image_path(key), root / f'images/{split}/{key}.jpg')
            shutil.copy(voc.truth_from(key), root / f'annotations/{split}/{key}.png')
    (root / 'names.txt').write_text('\n'.join(voc.classes))
    return MaskFolders(str(root), 'train', class_names='names.txt', reduce_zero_label=False)


def as_table(
    voc: VOCFolder, root: Path, label_of: Callable[[int], int] = int, classes: int | None = None
) -> LabelledImages:
    """Class *i* of the scenes is ``label_of(i)`` of so many classes, which have names of their own."""
    classes = classes or voc.num_classes
    (root / 'masks').mkdir(parents=True)
    names = [f'kind {number:03d}' for number in range(classes)]
    lookup = np.full(256, ignore_value(classes + 1))
    lookup[: voc.num_classes + 1] = [0, *(label_of(label) + 1 for label in range(voc.num_classes))]
    rows = ['image,label,split']
    for split in SPLITS:
        for key in voc.ids(split):
            shutil.copy(voc.image_path(key), root / f'{key}.jpg')
            (root / f'masks/{key}.png').write_bytes(label_png(lookup[voc.mask(key)], classes + 1).getvalue())
            rows.append(f'{key}.jpg,{";".join(names[label_of(label)] for label in voc.labels(key))},{split}')
    (root / 'labels.csv').write_text('\n'.join(rows) + '\n')
    (root / 'names.txt').write_text('\n'.join(names))
    return LabelledImages(str(root), class_names='names.txt', masks='masks')


def as_wide_table(voc: VOCFolder, root: Path) -> LabelledImages:
    """A table of three hundred classes, five of which occur."""
    return as_table(voc, root, lambda label: WIDE[label], 300)
