# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""PartShapes scenes on disk in the layout of PASCAL VOC 2012, so that every VOC tool can run without VOC."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np

from mmentropy.datasets.drawn.partshapes import PartShapes
from mmentropy.datasets.palette import palette_png
from mmentropy.datasets.preparing.prepare import write_file, write_lines
from mmentropy.datasets.readers.voc import VOC_CLASSES
from mmentropy.ops.masks import IGNORE_LABEL

#: Splits of PartShapes → lists of VOC that hold them.
LISTS = {'train': ('train', 'trainaug'), 'val': ('val',), 'test': ('select',)}
#: Year in the ids of each split's scenes.
YEARS = {'train': 2007, 'val': 2008, 'test': 2009}


def border_map(seg_map: np.ndarray, instances: np.ndarray, width: int = 1) -> np.ndarray:
    """VOC's convention: the pixels within ``width`` of an object's outline become 255.

    Args:
        seg_map: (H, W) uint8, class + 1, 0 background.
        instances: (H, W), 0 background, i + 1 the i-th object.
        width: pixels on each side of the outline.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * width + 1, 2 * width + 1))
    out = seg_map.copy()
    for number in range(1, int(instances.max()) + 1):
        one = (instances == number).astype(np.uint8)
        out[(cv2.dilate(one, kernel) - cv2.erode(one, kernel)) > 0] = IGNORE_LABEL
    return out


def annotation(key: str, size: int, boxes: np.ndarray, labels: list[int]) -> str:
    """The XML of one scene; coordinates count from 1 and include the last pixel, as VOC's do."""
    root = ElementTree.Element('annotation')
    ElementTree.SubElement(root, 'folder').text = 'VOC2012'
    ElementTree.SubElement(root, 'filename').text = f'{key}.jpg'
    shape = ElementTree.SubElement(root, 'size')
    for name, value in (('width', size), ('height', size), ('depth', 3)):
        ElementTree.SubElement(shape, name).text = str(value)
    ElementTree.SubElement(root, 'segmented').text = '1'
    for (x0, y0, x1, y1), label in zip(boxes.astype(int).tolist(), labels):
        element = ElementTree.SubElement(root, 'object')
        ElementTree.SubElement(element, 'name').text = VOC_CLASSES[label]
        ElementTree.SubElement(element, 'truncated').text = '0'
        ElementTree.SubElement(element, 'difficult').text = '0'
        box = ElementTree.SubElement(element, 'bndbox')
        for name, value in (('xmin', x0 + 1), ('ymin', y0 + 1), ('xmax', x1), ('ymax', y1)):
            ElementTree.SubElement(box, name).text = str(value)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding='unicode')


def export_voc(
    dst: str | Path,
    train: int = 400,
    val: int = 100,
    border: int = 1,
    advance: Callable[[], None] = lambda: None,
    select: int = 0,
    **options,
) -> dict[str, int]:
    """Write PartShapes scenes: ``JPEGImages``, ``Annotations``, ``SegmentationClass``, ``SegmentationClassAug``, lists.

    The classes bear VOC's names, in VOC's order, so that readers, palettes and tools of VOC need no change. A scene
    that is there with all its files is not drawn again.

    Args:
        dst: directory that becomes ``VOC2012``.
        train: number of training scenes; ``trainaug`` is the same list.
        val: number of validation scenes.
        border: width of the ignored border in pixels, each side; 0 for none.
        advance: called after each scene.
        select: number of scenes of the list ``select``, on which options may be chosen that the others report.
        **options: of :class:`PartShapes`.

    Returns:
        split → number of scenes.

    Raises:
        ValueError: for more classes than VOC has.
    """
    options = {'num_classes': 5, 'image_size': 96, 'num_objects': (1, 3), **options}
    if options['num_classes'] > len(VOC_CLASSES):
        raise ValueError(f'VOC has {len(VOC_CLASSES)} classes, num_classes={options["num_classes"]} is too many')
    dst = Path(dst)
    counts = {'train': train, 'val': val} | ({'test': select} if select else {})
    for split, length in counts.items():
        data = PartShapes(split, length, with_seg_map=True, multi_label=True, **options)
        keys = [f'{YEARS[split]}_{i:06d}' for i in range(length)]
        for i, key in enumerate(keys):
            _write_scene(dst, key, data, i, border)
            advance()
        for name in LISTS[split]:
            write_lines(dst / 'ImageSets/Segmentation' / f'{name}.txt', keys)
    return {'select' if split == 'test' else split: count for split, count in counts.items()}


def _write_scene(dst: Path, key: str, data: PartShapes, index: int, border: int) -> None:
    names = [f'JPEGImages/{key}.jpg', f'Annotations/{key}.xml', f'SegmentationClass/{key}.png']
    names.append(f'SegmentationClassAug/{key}.png')
    if all((dst / name).is_file() for name in names):
        return
    info = data.get_data_info(index)
    encoded, jpeg = cv2.imencode('.jpg', info['img'], [cv2.IMWRITE_JPEG_QUALITY, 95])
    if not encoded:
        raise ValueError(f'{names[0]}: OpenCV cannot write JPEG files')
    text = annotation(key, info['img'].shape[0], info['gt_bboxes'], info['gt_bbox_labels'].tolist())
    mask = border_map(info['gt_seg_map'], info['instances'], border) if border else info['gt_seg_map']
    # The augmented masks have no border, like SBD's.
    masks = palette_png(mask), palette_png(info['gt_seg_map'])
    for name, stream in zip(names, (io.BytesIO(jpeg.tobytes()), io.BytesIO(text.encode()), *masks)):
        write_file(dst / name, stream)
